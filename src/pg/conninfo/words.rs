//! The keys whose values are words.

use std::str::FromStr;

use crate::pg::conninfo::{ChannelBinding, SslMode, SslNegotiation, TargetSessionAttrs};

/// `FromStr` with an error that lists the words; the first is the default unless named.
macro_rules! words {
    ($type:ty, default $default:ident, $($word:literal => $variant:ident),+ $(; $($refused:literal => $reason:literal),+)?) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(<$type>::$variant),)+
                    $($($refused => Err(format!("does not take \"{}\": {}", $refused, $reason)),)+)?
                    _ => Err(format!("must be one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl Default for $type {
            fn default() -> Self {
                <$type>::$default
            }
        }
    };
}

words!(SslMode, default Prefer,
    "disable" => Disable, "prefer" => Prefer, "require" => Require,
    "verify-ca" => VerifyCa, "verify-full" => VerifyFull;
    "allow" => "it protects nothing, use prefer or require");
words!(SslNegotiation, default Postgres, "postgres" => Postgres, "direct" => Direct);
words!(ChannelBinding, default Prefer,
    "disable" => Disable, "prefer" => Prefer, "require" => Require);
words!(TargetSessionAttrs, default Any,
    "any" => Any, "read-write" => ReadWrite, "primary" => Primary;
    "read-only" => "the agent writes at the destination and decodes at a primary",
    "standby" => "the agent writes at the destination and decodes at a primary",
    "prefer-standby" => "the agent writes at the destination and decodes at a primary");
