//! A gauge that exists only while its value is known.

use prometheus::{GaugeVec, Opts, Registry};

/// Exports nothing until [`KnownGauge::set`], and nothing again after [`KnownGauge::forget`].
///
/// A `Vec` without variable labels does exactly that: it has no child until one is asked for.
#[derive(Clone, Debug)]
pub struct KnownGauge(GaugeVec);

impl KnownGauge {
    pub(super) fn register(registry: &Registry, name: &str, help: &str) -> KnownGauge {
        KnownGauge(super::registered(registry, GaugeVec::new(Opts::new(name, help), &[])))
    }

    pub fn set(&self, value: f64) {
        self.0.with_label_values::<&str>(&[]).set(value);
    }

    pub fn forget(&self) {
        self.0.reset();
    }

    pub fn set_or_forget(&self, value: Option<f64>) {
        match value {
            Some(value) => self.set(value),
            None => self.forget(),
        }
    }
}
