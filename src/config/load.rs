//! File, variables and flags to settings, or every reason why not.
