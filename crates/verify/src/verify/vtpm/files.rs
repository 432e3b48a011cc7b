//! The files that Linux measured, held against PCR10 and against those that the policy names.

use crate::evidence::Evidence;
use crate::ima::{File, FileList, REGISTER};
use crate::policy::{MeasuredFile, VtpmReference};
use crate::verdict::{CheckId, Recorder};
use crate::vtpm::Vtpm;

/// The files that were measured when the quote was made.
fn proved(list: &[u8], vtpm: &Vtpm) -> Result<Vec<File>, String> {
    let list = FileList::parse(list).map_err(|error| error.to_string())?;
    let pcr = vtpm.pcrs.get(REGISTER);
    let files = pcr.and_then(|pcr| list.until(&pcr.0));
    files.map(<[File]>::to_vec).ok_or_else(|| {
        format!("the list of measured files does not lead to PCR{REGISTER} of the quote")
    })
}

fn is_named(file: &File, named: &[MeasuredFile]) -> bool {
    named.iter().any(|named| {
        named.path.as_ref().is_none_or(|path| *path == file.path)
            && file.digest == format!("sha256:{}", named.sha256)
    })
}

/// `reference` is the one whose PCRs matched, or the nearest.
pub(super) fn verify(
    evidence: &Evidence,
    vtpm: &Vtpm,
    reference: Option<&VtpmReference>,
    recorder: &mut Recorder,
) {
    let check = recorder.check(CheckId::Files);
    let named = reference.map_or(&[][..], |reference| &reference.files);
    let proved = evidence.ima.as_deref().map(|list| proved(list, vtpm));
    let files = match (proved, named) {
        (Some(Ok(files)), _) => files,
        (None, []) => {
            return check.not_applicable("the evidence holds no list of measured files");
        }
        (None, _) => {
            return check.fail("the policy names files (`vtpm.reference.files`), and the evidence holds no list of those that were measured; set `attestation.ima` on the host");
        }
        (Some(Err(reason)), []) => {
            return check.skip(format!("{reason}, and the policy names no files"));
        }
        (Some(Err(reason)), _) => {
            return check.fail(format!("{reason}; do not rely on this host"));
        }
    };
    // A file could have that name too; the kernel's own entry is the first.
    let aggregate = files.first().is_some_and(File::is_boot_aggregate);
    let files = files.get(usize::from(aggregate)..).unwrap_or_default();
    let check = check.input("files", files.len());
    if named.is_empty() {
        return check.skip(format!(
            "`vtpm.reference.files` names none: {} measured files are not compared",
            files.len()
        ));
    }
    if files.is_empty() {
        return check.fail("no file was measured, so nothing says which run; start the guest's kernel with a policy that measures them (`ima_policy=tcb`)");
    }
    let other = files.iter().find(|file| !is_named(file, named));
    check.require(other.is_none(), || {
        let (path, digest) = other.map_or(("", ""), |file| (&file.path, &file.digest));
        format!(
            "`{}` ({}) is no file that the policy names; do not rely on this host, or add it to `vtpm.reference.files` once you know it",
            path.escape_debug(),
            digest.escape_debug()
        )
    });
}
