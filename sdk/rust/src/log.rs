//! Log macros. Each takes the [`Context`](crate::Context) and then what `format!` takes.

/// Logs for whoever works on the driver: `debug!(cx, "row {row:?}")`.
#[macro_export]
macro_rules! debug {
    ($cx:expr, $($text:tt)+) => { $cx.log($crate::Level::Debug, ::core::format_args!($($text)+)) };
}

/// Logs what is worth reading later: `info!(cx, "identified as {model}")`.
#[macro_export]
macro_rules! info {
    ($cx:expr, $($text:tt)+) => { $cx.log($crate::Level::Info, ::core::format_args!($($text)+)) };
}

/// Logs what is wrong, while the driver goes on as before.
#[macro_export]
macro_rules! warn {
    ($cx:expr, $($text:tt)+) => { $cx.log($crate::Level::Warn, ::core::format_args!($($text)+)) };
}

/// Logs what did not work.
#[macro_export]
macro_rules! error {
    ($cx:expr, $($text:tt)+) => { $cx.log($crate::Level::Error, ::core::format_args!($($text)+)) };
}

/// Logs why the driver cannot go on.
#[macro_export]
macro_rules! fatal {
    ($cx:expr, $($text:tt)+) => { $cx.log($crate::Level::Fatal, ::core::format_args!($($text)+)) };
}
