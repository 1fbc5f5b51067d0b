//! What the server says about itself while it runs: lines on standard error, and traces if the
//! program was built with the feature `otel`. Neither holds anything that a peer's request
//! contains: methods, reasons, sizes, addresses and names of parties only.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::config::{LogFormat, Telemetry};
use crate::cli::output::Failure;

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends what is left of the traces when it is dropped.
pub(in crate::cli) struct Tracing {
    #[cfg(feature = "otel")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Sets everything up. Called once, within the runtime.
pub(in crate::cli) fn start(settings: &Telemetry) -> Result<Tracing, Failure> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => filter,
        Err(_) => settings.log_filter.clone(),
    };
    let filter = EnvFilter::try_new(&filter)
        .map_err(|e| Failure::new(format!("log filter {filter:?}: {e}")))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines: Boxed = match settings.log_format {
        LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
        LogFormat::Json => {
            lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed()
        }
    };
    let (traces, tracing) = traces(settings.otlp_endpoint.as_deref())?;
    let layers: Vec<Boxed> = [Some(lines), traces].into_iter().flatten().collect();
    // A subscriber is there already only if this is called twice.
    tracing_subscriber::registry().with(layers).try_init().map_err(Failure::new)?;
    Ok(tracing)
}

#[cfg(not(feature = "otel"))]
fn traces(endpoint: Option<&str>) -> Result<(Option<Boxed>, Tracing), Failure> {
    if endpoint.is_some() {
        return Err(Failure::new("this program was built without traces")
            .next("leave --otlp-endpoint out, or build with: cargo build --features otel"));
    }
    Ok((None, Tracing {}))
}

#[cfg(feature = "otel")]
fn traces(endpoint: Option<&str>) -> Result<(Option<Boxed>, Tracing), Failure> {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::WithExportConfig as _;

    let Some(endpoint) = endpoint else { return Ok((None, Tracing { provider: None })) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|e| Failure::new(format!("--otlp-endpoint {endpoint}: {e}")))?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("countersign").build();
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build();
    // Spans of calls only: what the exporter itself does must not be traced.
    let filter = EnvFilter::new("off,transport=info,server=info");
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("countersign"));
    Ok((Some(layer.with_filter(filter).boxed()), Tracing { provider: Some(provider) }))
}

#[cfg(feature = "otel")]
impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}
