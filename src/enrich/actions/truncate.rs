//! `truncate`: cuts a string value off behind so many bytes, or before the character that would be cut through.

use crate::enrich::attributes::Attributes;
use crate::wire::{AnyView, put_any};

pub(super) fn edit(list: &mut Attributes<'_>, key: &[u8], bytes: usize) {
    for entry in list.each(key) {
        let cut = match AnyView::parse(&entry.any) {
            Ok(AnyView::Str(text)) if text.len() > bytes => {
                let mut any = Vec::with_capacity(bytes + 8);
                put_any(&mut any, AnyView::Str(&text[..text.floor_char_boundary(bytes)]));
                any
            }
            _ => continue,
        };
        let chosen = entry.chosen;
        entry.set(cut.into(), chosen);
    }
}
