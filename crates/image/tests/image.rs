//! What an image is and what is said of it: small ones, made here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;

use hypervisor_image::assemble::{Parts, assemble};
use hypervisor_image::boot::{Boot, Registers, events, replay};
use hypervisor_image::cpio::{Node, Tree};
use hypervisor_image::pe::Program;
use hypervisor_image::policy::{Facts, Roots, Tdx};
use hypervisor_image::snp::{Firmware, PLAIN_FEATURES, Processors, Started, measurement};
use hypervisor_image::{Error, Image};
use hypervisor_verify::Policy;
use sev::certs::snp::{Certificate, Verifiable, builtin::milan};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use sha2::{Digest, Sha256};

/// A program of one section with room for more: as a stub or a kernel is one.
fn program(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0\x64\x86\x01\0");
    // Size of the optional header, which is a PE32+ one.
    put(0x94, &0xf0_u16.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    for (field, value) in [
        (32, 0x1000_u32),
        (36, 0x200),
        (56, 0x2000),
        (60, 0x400),
        (108, 16),
    ] {
        put(0x98 + field, &value.to_le_bytes());
    }
    let section = 0x98 + 0xf0;
    put(section, b".text");
    let raw = u32::try_from(text.len().next_multiple_of(0x200)).unwrap();
    let size = u32::try_from(text.len()).unwrap();
    for (field, value) in [(8, size), (12, 0x1000), (16, raw), (20, 0x400)] {
        put(section + field, &value.to_le_bytes());
    }
    bytes.extend_from_slice(text);
    bytes.resize(bytes.len().next_multiple_of(0x200), 0);
    bytes
}

fn image(file: &[u8]) -> Vec<u8> {
    let (stub, kernel) = (program(b"stub"), program(b"kernel"));
    let host = Node::File {
        bytes: file.to_vec(),
        program: true,
    };
    let tree = Tree(BTreeMap::from([("host".to_owned(), host)]));
    assemble(Parts {
        stub: &stub,
        kernel: &kernel,
        command_line: "console=ttyS0\n",
        tree,
    })
    .unwrap()
}

fn registers(image: &[u8], boot: Boot) -> Registers {
    replay(&events(&Image::parse(image).unwrap(), boot).unwrap())
}

#[test]
fn what_is_put_into_an_image_is_found_in_it() {
    let bytes = image(b"the host");
    assert_eq!(bytes, image(b"the host"));
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.kernel().unwrap(), program(b"kernel"));
    assert_eq!(image.command_line().unwrap(), "console=ttyS0");
    let tree = image.tree().unwrap();
    let names: Vec<&str> = tree.0.keys().map(String::as_str).collect();
    assert_eq!(names, ["dev", "dev/console", "host"]);
}

#[test]
fn any_change_to_an_image_changes_what_it_is_measured_as() {
    let one = image(b"the host");
    let before = registers(&one, Boot::Disk);
    let other = registers(&image(b"the hosT"), Boot::Disk);
    for (before, other) in [
        (before.pcr4, other.pcr4),
        (before.pcr9, other.pcr9),
        (before.pcr11, other.pcr11),
        (before.rtmr1, other.rtmr1),
        (before.rtmr2, other.rtmr2),
    ] {
        assert_ne!(before, other);
    }
    // The order of the same events.
    assert_ne!(before.pcr4, registers(&one, Boot::Direct).pcr4);
    assert_eq!(before.pcr11, registers(&one, Boot::Direct).pcr11);
    // Every byte outside the checksum: of the program that firmware starts.
    let digest = Program::parse(&one, "it").unwrap().authenticode().unwrap();
    let headers = [0x40, 0x98 + 16, 0x98 + 0xf0 + 60].into_iter();
    for at in headers.chain((0x400..one.len()).step_by(97)) {
        let mut changed = one.clone();
        changed[at] ^= 1;
        let program = Program::parse(&changed, "it").unwrap();
        assert_ne!(program.authenticode().unwrap(), digest, "{at}");
    }
    let mut checksum = one.clone();
    checksum[0x98 + 64] ^= 1;
    let program = Program::parse(&checksum, "it").unwrap();
    assert_eq!(program.authenticode().unwrap(), digest);
}

#[test]
fn files_that_are_no_images_are_refused() {
    for bytes in [&[][..], b"MZ", &program(b"stub")] {
        assert!(Image::parse(bytes).is_err());
    }
    let whole = image(b"the host");
    for end in (0..whole.len()).step_by(61) {
        let cut = Image::parse(&whole[..end]);
        assert!(cut.is_err(), "{end}");
    }
    let mut full = program(b"stub");
    // Headers that end after the first section's.
    full[0x98 + 60..0x98 + 64].copy_from_slice(&0x1b0_u32.to_le_bytes());
    let refused = Program::parse(&full, "the stub")
        .unwrap()
        .with_sections(&[(".linux", b"")]);
    assert!(matches!(refused, Err(Error::NotAProgram { .. })));
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    const_hex::decode(hex).unwrap().try_into().unwrap()
}

/// A guest that AMD's hardware measured and signed: `vectors/README.md`.
fn signed() -> (Firmware, Started, Processors, [u8; 48]) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/");
    let inputs = std::fs::read(format!("{folder}milan-launch.json")).unwrap();
    let inputs: serde_json::Value = serde_json::from_slice(&inputs).unwrap();
    let report = std::fs::read(format!("{folder}milan-launch.report")).unwrap();
    let hash = |name: &str| array(inputs[name].as_str().unwrap());
    let number = |value: &serde_json::Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let sections = inputs["ovmf_sections"].as_array().unwrap().iter();
    let command_line = [inputs["base_cmdline"].as_str().unwrap().as_bytes(), &[0]].concat();
    let firmware = Firmware {
        loaded: array(inputs["ovmf_hash"].as_str().unwrap()),
        sections: sections
            .map(|section| {
                let kind = u8::try_from(number(&section["section_type"])).unwrap();
                (number(&section["gpa"]), number(&section["size"]), kind)
            })
            .collect(),
        hashes_at: number(&inputs["sev_hashes_table_gpa"]),
        reset_at: number(&inputs["sev_es_reset_eip"]),
    };
    let started = Started {
        kernel: hash("kernel_hash"),
        initrd: hash("initrd_hash"),
        command_line: Sha256::digest(command_line).into(),
    };
    let processors = Processors {
        count: 2,
        model: inputs["vcpu_type"].as_str().unwrap().to_owned(),
        features: PLAIN_FEATURES,
    };
    // AMD 56860, ATTESTATION_REPORT: MEASUREMENT.
    (
        firmware,
        started,
        processors,
        report[0x90..0xc0].try_into().unwrap(),
    )
}

#[test]
fn the_report_with_the_launch_measurement_is_signed_by_amds_hardware() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/");
    let read = |name: &str| std::fs::read(format!("{folder}{name}")).unwrap();
    let key = Certificate::from_der(&read("milan-launch.vcek.der")).unwrap();
    let mut bytes = read("milan-launch.report");
    let (root, intermediate) = (milan::ark().unwrap(), milan::ask().unwrap());
    assert!((&root, &intermediate).verify().is_ok());
    assert!((&intermediate, &key).verify().is_ok());
    let report = AttestationReport::from_bytes(&bytes).unwrap();
    assert!((&key, &report).verify().is_ok());
    bytes[0x90] ^= 1;
    let report = AttestationReport::from_bytes(&bytes).unwrap();
    assert!((&key, &report).verify().is_err());
}

#[test]
fn a_launch_measurement_that_amds_hardware_signed_is_predicted_from_its_inputs() {
    let (firmware, started, processors, signed) = signed();
    let predicted = measurement(&firmware, &started, &processors).unwrap();
    assert_eq!(const_hex::encode(predicted), const_hex::encode(signed));
}

#[test]
fn every_input_of_a_launch_counts_and_firmware_without_hashes_is_refused() {
    let (firmware, started, processors, signed) = signed();
    let model = Processors {
        model: "EPYC-Genoa".to_owned(),
        ..processors.clone()
    };
    let more = Processors {
        count: 3,
        ..processors.clone()
    };
    for processors in [model, more] {
        assert_ne!(
            measurement(&firmware, &started, &processors).unwrap(),
            signed
        );
    }
    let image = Started::image(b"another");
    assert_ne!(measurement(&firmware, &image, &processors).unwrap(), signed);
    let unknown = Processors {
        model: "8086".to_owned(),
        ..processors.clone()
    };
    assert!(measurement(&firmware, &started, &unknown).is_err());
    let mut without = firmware;
    without.sections.retain(|(.., kind)| *kind != 0x10);
    assert!(measurement(&without, &started, &processors).is_err());
}

#[test]
fn what_is_said_of_an_image_is_a_policy_that_accepts_nothing_it_does_not_name() {
    let facts = Facts {
        name: "an \"image\"",
        roots: Roots::Vendors,
        manifest: "ab".repeat(48),
        components: vec![("policy".to_owned(), "cd".repeat(48))],
        registers: registers(&image(b"the host"), Boot::Disk),
        tdx: None,
        snp: None,
    };
    let policy = Policy::parse(&facts.policy()).unwrap();
    let rules = &policy.rules;
    assert!(rules.tdx.reference.is_empty() && rules.snp.reference.is_empty());
    assert!(!rules.manifest.any && !rules.components.any);
    assert_eq!(rules.components.allowed.len(), 1);
    let tdx = Tdx {
        mrtd: "01".repeat(48),
        rtmr0: "02".repeat(48),
        xfam: "e702060000000000".to_owned(),
        td_attributes: "0000001000000000".to_owned(),
    };
    let snp = Some([3; 48]);
    let full = Facts {
        tdx: Some(tdx),
        snp,
        ..facts.clone()
    };
    let rules = Policy::parse(&full.policy()).unwrap().rules;
    assert_eq!(
        rules.tdx.reference[0].rtmr1.map(|it| it.0),
        Some(facts.registers.rtmr1.sha384)
    );
    assert_eq!(
        rules.tdx.reference[0].rtmr2.map(|it| it.0),
        Some(facts.registers.rtmr2.sha384)
    );
    assert_eq!(rules.snp.reference[0].measurement.0, [3; 48]);
    let simulated = Facts {
        roots: Roots::Simulated("ef".repeat(32)),
        ..facts
    };
    Policy::parse(&simulated.policy()).unwrap();
}
