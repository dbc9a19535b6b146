//! The screen of a PC in text mode: 80 columns, 25 rows, a cursor, and lines that leave at the top.

use std::fmt;

/// Characters in a row.
pub const COLUMNS: usize = 80;
/// Rows.
pub const ROWS: usize = 25;

/// A text screen.
#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            rows: vec![vec![' '; COLUMNS]; ROWS],
            row: 0,
            column: 0,
        }
    }
}

impl Screen {
    /// Nothing on it, the cursor in the corner.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes a text. A line end goes to the next row; so does a character after the last column.
    pub fn print(&mut self, text: &str) {
        for character in text.chars() {
            self.put(character);
        }
    }

    /// Takes back the last character, also over the start of a row.
    pub fn erase(&mut self) {
        if self.column > 0 {
            self.column -= 1;
        } else if self.row > 0 {
            self.row -= 1;
            self.column = COLUMNS - 1;
        }
        self.set(' ');
    }

    /// The rows, without the blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.rows
            .iter()
            .map(|row| row.iter().collect::<String>().trim_end().to_owned())
            .collect()
    }

    /// The row of the cursor, up to the cursor.
    pub fn current_line(&self) -> String {
        self.rows
            .get(self.row)
            .map(|row| row.iter().take(self.column).collect())
            .unwrap_or_default()
    }

    fn put(&mut self, character: char) {
        if character == '\n' {
            return self.new_row();
        }
        self.set(character);
        self.column += 1;
        if self.column == COLUMNS {
            self.new_row();
        }
    }

    fn set(&mut self, character: char) {
        if let Some(place) = self
            .rows
            .get_mut(self.row)
            .and_then(|row| row.get_mut(self.column))
        {
            *place = character;
        }
    }

    fn new_row(&mut self) {
        self.column = 0;
        if self.row + 1 < ROWS {
            self.row += 1;
        } else {
            self.rows.rotate_left(1);
            if let Some(last) = self.rows.last_mut() {
                last.fill(' ');
            }
        }
    }
}

impl fmt::Display for Screen {
    /// All 25 rows of 80 characters, blanks and all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{}", row.iter().collect::<String>())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_leave_at_the_top_and_long_ones_are_broken() {
        let mut screen = Screen::default();
        for n in 0..30 {
            screen.print(&format!("line {n}\n"));
        }
        screen.print(&"x".repeat(100));
        let lines = screen.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (ROWS, "line 7"));
        assert_eq!((lines[23].len(), lines[24].len()), (80, 20));
    }

    #[test]
    fn erasing_takes_back_what_was_printed_over_the_border_of_a_row() {
        let mut screen = Screen::default();
        let before = screen.clone();
        screen.print(&"y".repeat(85));
        for _ in 0..85 {
            screen.erase();
        }
        assert_eq!(screen, before);
    }

    #[test]
    fn it_is_80_by_25_whatever_is_on_it() {
        let mut screen = Screen::default();
        screen.print("C:\\>");
        let text = screen.to_string();
        assert_eq!(text.lines().count(), 25);
        assert!(text.lines().all(|line| line.chars().count() == 80), "{text}");
    }
}
