//! The process's metrics, in the text format of Prometheus.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// The process has one recorder; whoever asks again gets the same.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The buckets of every `…_seconds` histogram: from a broker's round trip to a long job.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0];

/// Installs the recorder, once per process, and says what is running.
pub(crate) fn install(service: &'static str) -> Result<PrometheusHandle, BuildError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = match &*installed {
        Some(handle) => handle.clone(),
        None => PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .install_recorder()?,
    };
    metrics::describe_gauge!("windlass_build_info", "1; the labels say what is running");
    metrics::gauge!("windlass_build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    *installed = Some(handle.clone());
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_running_and_has_buckets() {
        let handle = install("tester").unwrap();
        metrics::histogram!("windlass_test_seconds").record(0.02);
        let text = install("tester").unwrap().render();
        let build =
            format!("windlass_build_info{{service=\"tester\",version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&build), "{text}");
        assert!(text.contains("windlass_test_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        // Asked for twice, it is one.
        assert!(handle.render().contains("windlass_test_seconds_count 1"));
    }
}
