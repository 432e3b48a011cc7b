//! What an agent says of itself when it is deployed.

use hypervisor_fuzz_kit::{AllowList, Manifest, Name, Origin, OriginPattern};

use crate::bounded;

/// Manifests of agents, their names, and the origins that they ask for.
pub(crate) fn manifests(bytes: &[u8]) {
    if let Ok(manifest) = bounded(bytes, 512, || Manifest::parse(bytes)) {
        assert!((1..=2000).contains(&manifest.description.chars().count()));
        assert!((1..=64).contains(&manifest.version.len()));
        assert!((1..=1024).contains(&manifest.reuse));
        let mut skills = manifest.skills.iter();
        assert!(skills.all(|skill| (1..=100).contains(&skill.chars().count())));
        for origin in &manifest.outgoing {
            assert!(origin.parse::<OriginPattern>().is_ok(), "it was judged");
        }
        assert_eq!(Manifest::parse(bytes).unwrap(), manifest);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
    }
    if let Ok(pattern) = text.parse::<OriginPattern>() {
        assert!(pattern.to_string().parse::<OriginPattern>().is_ok());
        if let Some(origin) = text.parse().ok().as_ref().and_then(Origin::of) {
            // What names one origin allows that one.
            assert!(pattern.matches(&origin), "{pattern}");
        }
        let _ = AllowList::default().overlaps(&pattern);
    }
}
