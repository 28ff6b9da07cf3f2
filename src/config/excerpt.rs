//! One line of the file, shown beside an error.
//!
//! **Invariant:** the spans that the caller names as hidden never reach the excerpt; a mask stands
//! in their place, and what the excerpt points at still stands right.

use std::ops::Range;

use crate::config::document::Source;

/// One line of the file, without the values that must not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) line_number: usize,
    pub(crate) line: String,
    /// What is meant, in bytes of `line`.
    pub(crate) span: Range<usize>,
}

/// What stands for a value that is not shown.
const MASK: &str = "\"…\"";

impl Excerpt {
    pub(crate) fn cut(source: &Source, span: &Range<usize>, hidden: &[Range<usize>]) -> Excerpt {
        let text = &source.text;
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        let mut hidden: Vec<Range<usize>> = hidden
            .iter()
            .map(|range| range.start.max(start)..range.end.min(end))
            .filter(|range| range.start < range.end)
            .collect();
        hidden.sort_by_key(|range| range.start);

        let mut line = String::new();
        let mut copied_to = start;
        let mut moved = Vec::new();
        for range in hidden.into_iter() {
            if range.start < copied_to {
                continue;
            }
            line.push_str(&text[copied_to..range.start]);
            moved.push((range.clone(), line.len()));
            line.push_str(MASK);
            copied_to = range.end;
        }
        line.push_str(text[copied_to..end].trim_end_matches('\r'));

        // Where a byte of the text stands in the line, masks taken into account.
        let position = |offset: usize, is_end: bool| {
            let mut base = (start, 0);
            for (range, at) in &moved {
                if offset >= range.end {
                    base = (range.end, at + MASK.len());
                } else if offset >= range.start {
                    return if is_end && offset > range.start { at + MASK.len() } else { *at };
                }
            }
            (base.1 + offset.saturating_sub(base.0)).min(line.len())
        };
        let from = position(span.start, false);
        let to = position(span.end.min(end), true).max(from);
        let line_number = text[..start].matches('\n').count() + 1;
        Excerpt { line_number, span: from..to, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_hides_values_and_still_points_right() {
        let text = "a = 1\nb = { key = \"hunter2\", kind = 5 } # ö\n";
        let source = Source { name: "x".into(), text: text.into() };
        let secret = text.find("\"hunter2\"").map(|at| at..at + 9).expect("secret");
        let kind = text.find("5").map(|at| at..at + 1).expect("kind");
        let excerpt = Excerpt::cut(&source, &kind, std::slice::from_ref(&secret));
        assert_eq!(excerpt.line, "b = { key = \"…\", kind = 5 } # ö");
        assert_eq!(&excerpt.line[excerpt.span.clone()], "5");
        assert_eq!(excerpt.line_number, 2);
        let excerpt = Excerpt::cut(&source, &secret, std::slice::from_ref(&secret));
        assert_eq!(&excerpt.line[excerpt.span.clone()], MASK);
    }
}
