//! A process of swtpm, and the commands by which a platform writes into its TPM.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use hypervisor_vtpm::{Tpm, Transport};
use tempfile::TempDir;

const OWNER: u32 = 0x4000_0001;
const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0];
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
const QUOTING: u32 = 0x0005_0072;
const RESTRICTED: u32 = 1 << 16;

pub(crate) const ALL_PCRS: usize = 24;

/// A TPM that was just switched on. The process ends with its connection.
pub(crate) struct Swtpm {
    directory: TempDir,
    stream: UnixStream,
}

/// swtpm's data channel: commands and answers, one after the other.
pub(crate) struct Channel(UnixStream);

impl Transport for Channel {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut answer = vec![0; 10];
        self.0.read_exact(&mut answer)?;
        let length = u32::from_be_bytes(answer[2..6].try_into().unwrap());
        answer.resize(length as usize, 0);
        self.0.read_exact(&mut answer[10..])?;
        Ok(answer)
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// The public area of an RSA key that signs with SHA-256.
fn template(attributes: u32) -> Vec<u8> {
    let attributes = attributes.to_be_bytes();
    [
        &[0, 1, 0, 0x0b][..],
        &attributes,
        &[0, 0],
        &[0, 0x10, 0, 0x14, 0, 0x0b],
        &[8, 0],
        &[0; 4],
        &[0, 0],
    ]
    .concat()
}

impl Swtpm {
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("tpm");
        // It answers on the socket when it goes into the background.
        let status = Command::new("swtpm")
            .args(["socket", "--tpm2", "--daemon", "--terminate"])
            .args(["--flags", "startup-clear", "--tpmstate"])
            .arg(format!("dir={}", directory.path().display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .status()
            .expect("swtpm is not installed: run `scripts/setup.sh tpm`");
        assert!(status.success());
        Self {
            stream: UnixStream::connect(socket).unwrap(),
            directory,
        }
    }

    /// The TPM as the attester sees it.
    pub(crate) fn tpm(&self) -> Tpm {
        Tpm::new(Channel(self.stream.try_clone().unwrap()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The parameters of a command's answer, or its code.
    fn run(&self, code: u32, handles: &[u32], parameters: &[&[u8]]) -> Result<Vec<u8>, u32> {
        let mut command = [0x80, 2, 0, 0, 0, 0].to_vec();
        command.extend(code.to_be_bytes());
        command.extend(handles.iter().flat_map(|handle| handle.to_be_bytes()));
        command.extend(EMPTY_PASSWORD);
        command.extend(parameters.concat());
        let length = (command.len() as u32).to_be_bytes();
        command[2..6].copy_from_slice(&length);
        let mut channel = Channel(self.stream.try_clone().unwrap());
        let answer = channel.transmit(&command).unwrap();
        match u32::from_be_bytes(answer[6..10].try_into().unwrap()) {
            0 => Ok(answer[10..].to_vec()),
            code => Err(code),
        }
    }

    /// Makes a key and keeps it at a handle, for quotes alone or for signing anything.
    pub(crate) fn keep_key(&self, handle: u32, for_quotes: bool) {
        let attributes = match for_quotes {
            true => QUOTING,
            false => QUOTING & !RESTRICTED,
        };
        let parameters = [
            &sized(&[0; 4])[..],
            &sized(&template(attributes)),
            &[0, 0],
            &[0; 4],
        ];
        let answer = self.run(0x131, &[OWNER], &parameters).unwrap();
        let made = u32::from_be_bytes(answer[..4].try_into().unwrap());
        let kept = handle.to_be_bytes();
        self.run(0x120, &[OWNER, made], &[&kept]).unwrap();
    }

    /// Defines an index and writes it.
    pub(crate) fn write(&self, index: u32, value: &[u8]) {
        // ownerWrite, ownerRead, authRead; and no dictionary attacks.
        let attributes = (1_u32 << 1 | 1 << 17 | 1 << 18 | 1 << 25).to_be_bytes();
        let size = (value.len() as u16).to_be_bytes();
        let public = [
            &index.to_be_bytes()[..],
            &[0, 0x0b],
            &attributes,
            &[0, 0],
            &size,
        ]
        .concat();
        self.run(0x12a, &[OWNER], &[&[0, 0], &sized(&public)])
            .unwrap();
        for (at, chunk) in (0_u16..).step_by(512).zip(value.chunks(512)) {
            self.run(0x137, &[OWNER, index], &[&sized(chunk), &at.to_be_bytes()])
                .unwrap();
        }
    }

    /// Writes the template of an attestation key as Google does.
    pub(crate) fn write_template(&self, index: u32) {
        self.write(index, &template(QUOTING));
    }

    pub(crate) fn extend(&self, pcr: u32, digest: &[u8; 32]) {
        let parameters = [&[0, 0, 0, 1, 0, 0x0b][..], digest];
        self.run(0x182, &[pcr], &parameters).unwrap();
    }
}
