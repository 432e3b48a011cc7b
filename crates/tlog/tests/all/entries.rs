//! Entries: one form of each.

use hypervisor_protocol::HexArray;
use hypervisor_tlog::{Entry, Kind};
use proptest::prelude::*;

fn component(name: &str) -> Entry {
    let mut entry = Entry::new(Kind::Component, name, "1.0");
    entry.sha384 = Some(HexArray([7; 48]));
    entry
}

#[test]
fn an_entry_is_json_of_one_form() {
    let bytes = component("policy").encode().unwrap();
    let digest = "07".repeat(48);
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        format!(
            r#"{{"version":1,"kind":"component","name":"policy","release":"1.0","sha384":"{digest}"}}"#
        )
    );
    assert_eq!(Entry::decode(&bytes).unwrap(), component("policy"));
    let text = String::from_utf8(bytes).unwrap();
    for other in [
        text.replace(',', ", "),
        text.replace("\"0707", "\"0x0707"),
        text.replace("\"version\":1,", "") + " ",
        text.replace("\"name\"", "\"name\":\"a\",\"name\""),
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("\"policy\"", "\"\\u0070olicy\""),
        text.replace("\"policy\"", "\"\""),
        text.replace("\"policy\"", "\"a\\nb\""),
        text.replace("}", ",\"more\":1}"),
        text.replace("component", "person"),
        text.replace("component\"", "image\"")
            .replace(",\"sha384\":", ",\"tdx\":{},\"sha384\":"),
    ] {
        assert!(Entry::decode(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn only_images_have_values_and_everything_else_a_digest() {
    let values = || Some([("mrtd".to_owned(), "00".repeat(48).into())].into());
    let mut image = Entry::new(Kind::Image, "image", "1.0");
    assert!(image.encode().is_err());
    image.tdx = values();
    assert!(image.encode().is_ok());
    assert!(image.has(&HexArray([0; 48])) && !image.has(&HexArray([1; 48])));
    let mut component = component("policy");
    component.tdx = values();
    assert!(component.encode().is_err());
    assert!(
        Entry::new(Kind::Host, "hypervisor", "1.0")
            .encode()
            .is_err()
    );
}

#[test]
fn an_entry_is_bounded() {
    let mut image = Entry::new(Kind::Image, "image", "1.0");
    image.tdx = Some([("mrtd".to_owned(), "0".repeat(32 << 10).into())].into());
    assert!(image.encode().is_err());
    assert!(component(&"x".repeat(129)).encode().is_err());
    assert!(Entry::decode(&[b'['; 40_000]).is_err());
}

proptest! {
    #[test]
    fn whatever_can_be_written_is_read_the_same(name in any::<String>(), release in any::<String>()) {
        let mut entry = Entry::new(Kind::Host, &name, &release);
        entry.sha384 = Some(HexArray([1; 48]));
        if let Ok(bytes) = entry.encode() {
            prop_assert_eq!(Entry::decode(&bytes).unwrap(), entry);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Entry::decode(&bytes);
    }
}
