//! The list of measured files.

use super::made::*;
use crate::support::{advice, status};
use hypervisor_verify::ima::FileList;
use hypervisor_verify::{CheckId, Status};

/// One whose list has these files, of which the quote knows the first `quoted`.
fn with(files: &[(&str, &[u8])], quoted: usize) -> Made {
    let mut made = Made::new();
    made.pcrs[10] = [0; 32];
    let mut list = Vec::new();
    for (index, (path, content)) in files.iter().enumerate() {
        let (entry, digest) = file(path, content);
        list.extend(entry);
        if index < quoted {
            made.pcrs[10] = extend(made.pcrs[10], digest);
        }
    }
    made.quoted_pcrs = made.pcrs;
    made.ima = Some(list);
    made
}

const AGGREGATE: (&str, &[u8]) = ("boot_aggregate", b"pcrs");
const HOST: (&str, &[u8]) = ("/init", b"the host");
const OTHER: (&str, &[u8]) = ("/usr/bin/other", b"another");

#[test]
fn a_file_that_the_policy_does_not_name_is_refused_by_its_path() {
    let made = with(&[AGGREGATE, HOST, OTHER], 3);
    assert_eq!(made.failed(), [CheckId::Files]);
    assert!(advice(&made.verdict(), CheckId::Files).starts_with("`/usr/bin/other` (sha256:"));
    let made = with(&[AGGREGATE, ("/init", b"altered")], 2);
    assert_eq!(made.failed(), [CheckId::Files]);
    let made = with(&[AGGREGATE, ("/elsewhere", b"the host")], 2);
    assert_eq!(made.failed(), [CheckId::Files]);
}

#[test]
fn what_was_measured_after_the_quote_is_not_proved_and_not_judged() {
    let made = with(&[AGGREGATE, HOST, OTHER], 2);
    assert_eq!(made.failed(), [], "{}", made.verdict());
}

#[test]
fn a_list_that_was_shortened_or_altered_does_not_lead_to_the_pcr() {
    let mut made = with(&[AGGREGATE, HOST, OTHER], 3);
    made.ima = with(&[AGGREGATE, HOST], 2).ima;
    assert!(advice(&made.verdict(), CheckId::Files).contains("does not lead to PCR10"));
    made.ima = with(&[AGGREGATE, OTHER, HOST], 3).ima;
    assert!(advice(&made.verdict(), CheckId::Files).contains("does not lead to PCR10"));
    made.ima = None;
    assert!(advice(&made.verdict(), CheckId::Files).contains("holds no list"));
}

#[test]
fn a_guest_that_measured_nothing_is_refused_where_files_are_named() {
    for files in [&[][..], &[AGGREGATE]] {
        let made = with(files, files.len());
        assert!(advice(&made.verdict(), CheckId::Files).contains("no file was measured"));
    }
}

#[test]
fn only_the_first_entry_stands_for_the_boot() {
    let made = with(&[AGGREGATE, HOST, ("boot_aggregate", b"a program")], 3);
    assert_eq!(made.failed(), [CheckId::Files]);
}

#[test]
fn a_violation_and_entries_of_other_registers_and_templates_are_refused() {
    let list = Made::new().ima.unwrap();
    assert_eq!(FileList::parse(&list).unwrap().files().len(), 2);
    let mut violation = list.clone();
    violation[4..24].fill(0);
    let mut register = list.clone();
    register[0] = 11;
    let mut template = list.clone();
    template[28] = b'x';
    for (bytes, said) in [
        (&violation[..], "violation"),
        (&register, "PCR11"),
        (&template, "template"),
        (&list[..list.len() - 1], "cut off"),
    ] {
        let error = FileList::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        let made = Made {
            ima: Some(bytes.to_vec()),
            ..Made::new()
        };
        assert_eq!(made.failed(), [CheckId::Files]);
    }
}

#[test]
fn where_the_policy_names_no_files_the_verdict_says_that_they_are_not_compared() {
    let verdict = verify(&with(&[AGGREGATE, OTHER], 2).evidence(), &policy(""));
    assert!(verdict.passed(), "{verdict}");
    assert_eq!(
        status(&verdict, CheckId::Files),
        Some(Status::SkippedByPolicy)
    );
}
