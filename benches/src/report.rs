//! The tables, in Markdown: readable in a terminal too.

use crate::rounds::Row;
use std::fmt::Write;

/// A table under construction; columns as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns from this one on hold numbers and are set to the right.
    numbers_from: usize,
}

impl Table {
    /// A table with this heading.
    pub fn new(heading: &[&str], numbers_from: usize) -> Table {
        let heading = heading.iter().map(|cell| cell.to_string()).collect();
        Table {
            rows: vec![heading],
            numbers_from,
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                let _ = match column >= self.numbers_from {
                    true => write!(text, "| {cell:>width$} "),
                    false => write!(text, "| {cell:<width$} "),
                };
            }
            text.push_str("|\n");
            if i == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let _ = match column >= self.numbers_from {
                        true => write!(text, "|{:->1$}:", "", width + 1),
                        false => write!(text, "|{:-<1$}", "", width + 2),
                    };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// The table of a group of comparisons.
pub fn comparisons(rows: &[Row]) -> String {
    let mut heading = vec!["operation", "peer", "threads", "ours, ns", "peer, ns"];
    heading.extend(["ratio", "rounds' ratios"]);
    let with_hits = rows.iter().any(|row| row.hits.is_some());
    if with_hits {
        heading.push("hits, ours / peer");
    }
    let mut table = Table::new(&heading, 2);
    for row in rows {
        let mut cells = vec![
            row.operation.clone(),
            row.peer.clone(),
            row.threads.to_string(),
            format!("{:.1}", row.ours_ns),
            format!("{:.1}", row.peer_ns),
            format!("{:.2}", row.ratio.median),
            format!("{:.2} to {:.2}", row.ratio.min, row.ratio.max),
        ];
        if with_hits {
            cells.push(match row.hits {
                Some((ours, peer)) => format!("{ours:.1} % / {peer:.1} %"),
                None => String::new(),
            });
        }
        table.row(cells);
    }
    table.markdown()
}
