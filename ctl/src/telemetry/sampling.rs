//! Which requests are exported, of those that a host keeps.

use hypervisor::admin::Traced;
use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

/// `OTEL_TRACES_SAMPLER`.
pub(super) struct Sampling {
    /// What a caller samples is exported; a host keeps nothing that its caller does not sample.
    pub(super) keeps_parents: bool,
    /// For all others.
    pub(super) sampler: Sampler,
}

impl Sampling {
    pub(super) fn takes(&self, request: &Traced) -> bool {
        if self.keeps_parents && request.parent_span_id.is_some() {
            return true;
        }
        let trace_id = TraceId::from_bytes(request.trace_id.0);
        let result = (self.sampler).should_sample(None, trace_id, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use hypervisor_protocol::HexArray;

    use super::*;

    fn request(trace_id: [u8; 16], parent: Option<[u8; 8]>) -> Traced {
        Traced {
            trace_id: HexArray(trace_id),
            parent_span_id: parent.map(HexArray),
            ..Traced::default()
        }
    }

    #[test]
    fn what_a_caller_samples_is_taken_where_parents_are_asked() {
        let off = |keeps_parents| Sampling {
            keeps_parents,
            sampler: Sampler::AlwaysOff,
        };
        let called = request([1; 16], Some([1; 8]));
        assert!(off(true).takes(&called));
        assert!(!off(false).takes(&called));
        assert!(!off(true).takes(&request([1; 16], None)));
    }

    #[test]
    fn a_ratio_goes_by_the_trace() {
        let half = Sampling {
            keeps_parents: true,
            sampler: Sampler::TraceIdRatioBased(0.5),
        };
        assert!(half.takes(&request([0; 16], None)));
        assert!(!half.takes(&request([0xff; 16], None)));
    }
}
