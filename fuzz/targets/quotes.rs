//! Quotes of TDX, reports of SEV-SNP, and what a TPM says.

use hypervisor_verify::Quote;
use hypervisor_verify::snp::{self, SnpReport};
use hypervisor_verify::tdx::TdxQuote;
use hypervisor_verify::vtpm::{self, HclReport, TpmQuote};

use crate::bounded;

/// Quotes and what is in them, none of it signed by anybody yet.
pub(crate) fn quotes(bytes: &[u8]) {
    bounded(bytes, 16, || {
        if let Ok(quote) = TdxQuote::parse(bytes) {
            let data = quote.report.report_data;
            assert!(Quote::tdx(bytes.to_vec(), &data).is_ok());
            let mut other = data;
            other[0] ^= 1;
            assert!(Quote::tdx(bytes.to_vec(), &other).is_err());
        }
        if let Ok(report) = SnpReport::parse(bytes) {
            assert!(bytes.starts_with(report.signed));
            let _ = report.is_vlek();
        }
        for is_vlek in [false, true] {
            let _ = snp::certificates_of_table(bytes, is_vlek);
        }
        let _ = TpmQuote::parse(bytes);
        let _ = HclReport::parse(bytes);
        let _ = vtpm::attestation_key(bytes);
    });
}
