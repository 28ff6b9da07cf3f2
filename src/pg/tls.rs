//! TLS by rustls: sslmode's meanings, root certificates, channel binding.
