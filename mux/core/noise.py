"""Variables that say which session, terminal or shell started a server, and nothing about what it should do.

They neither count for the key nor reach a server. Only what is different in two sessions that mean the same goes in
here. Not in here, whatever it costs in sharing: credentials and ways to them (SSH_AUTH_SOCK, VSCODE_GIT_IPC_HANDLE),
what a server adapts to (TERM, DISPLAY, LANG), the address of a program that it may be there to drive (NVIM), and what
tells the kind of host (HOST_MARKS: they are noise only to a server that is there for hosts of any kind).

A server that several terminals share can not have one of them for its own: what names a terminal is noise, its remote
control included. One that is there to drive the terminal needs these to count (`[env] count`).

A name that ends in `*` stands for all names with that beginning.
"""

from __future__ import annotations

NOISE: dict[str, tuple[bytes, ...]] = {
    # hosts
    "opencode 1.18: pid of the host, one run, which of its processes": (
        b"OPENCODE_PID",
        b"OPENCODE_PROCESS_ROLE",
        b"OPENCODE_RUN_ID",
    ),
    "opencode 1.18: set by the one run that fetches packages, never by the next": (b"npm_config_user_agent",),
    "Claude Code 2.1: pid of the host, one conversation and its notes, its channel to sibling sessions": (
        b"CLAUDE_CODE_CHILD_NOTES_DIR",
        b"CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS",
        b"CLAUDE_CODE_MESSAGING_*",
        b"CLAUDE_CODE_REMOTE_SESSION_ID",
        b"CLAUDE_CODE_SESSION_ID",
        b"CLAUDE_PID",
    ),
    "Codex: one conversation": (b"CODEX_THREAD_ID",),
    "Claude Code's editor extensions: port of the editor window, for the host": (b"CLAUDE_CODE_SSE_PORT",),
    "gemini-cli's editor extension: address, pid and workspace of the editor window, for the host": (
        b"GEMINI_CLI_IDE_*",
    ),
    "Cursor: one run of the editor": (b"CURSOR_TRACE_ID",),
    # shells and what hooks into them
    "POSIX shells: nesting depth, last command": (b"SHLVL", b"_"),
    "fnm: the shell's own link; its PATH entry counts as the link's target": (b"FNM_MULTISHELL_PATH",),
    "direnv: what the hook changed in this shell": (b"DIRENV_DIFF", b"DIRENV_DIR", b"DIRENV_FILE", b"DIRENV_WATCHES"),
    "mise: what the hook changed in this shell": (b"__MISE_DIFF", b"__MISE_SESSION", b"__MISE_WATCH"),
    "starship": (b"STARSHIP_SESSION_KEY",),
    "atuin": (b"ATUIN_HISTORY_ID", b"ATUIN_SESSION"),
    "powerlevel10k": (b"P9K_SSH", b"P9K_TTY", b"_P9K_SSH_TTY", b"_P9K_TTY"),
    # terminals
    "any: size and name of the terminal, for programs on it": (b"COLUMNS", b"GPG_TTY", b"LINES"),
    "any: which terminal program, and its colours": (
        b"COLORFGBG",
        b"COLORTERM",
        b"LC_TERMINAL",
        b"LC_TERMINAL_VERSION",
        b"TERMINAL_EMULATOR",
        b"TERM_PROGRAM",
        b"TERM_PROGRAM_VERSION",
        b"VTE_VERSION",
    ),
    "X11 terminals": (b"WINDOWID", b"XTERM_LOCALE", b"XTERM_SHELL", b"XTERM_VERSION"),
    "Terminal.app, iTerm2": (b"ITERM_PROFILE", b"ITERM_SESSION_ID", b"TERM_SESSION_ID"),
    "kitty": (b"KITTY_*",),
    "WezTerm": (b"WEZTERM_*",),
    "Alacritty": (b"ALACRITTY_*",),
    "Ghostty": (b"GHOSTTY_*",),
    "Warp": (b"WARP_IS_LOCAL_SHELL_SESSION", b"WARP_USE_SSH_WRAPPER"),
    "Windows Terminal": (b"WT_PROFILE_ID", b"WT_SESSION"),
    "GNOME Terminal": (b"GNOME_TERMINAL_*",),
    "Konsole": (b"KONSOLE_*", b"SHELL_SESSION_ID"),
    "Terminator, Tilix, Guake": (b"GUAKE_TAB_UUID", b"TERMINATOR_*", b"TILIX_ID"),
    "VS Code's terminal: pid and directory of the application, shell integration": (
        b"VSCODE_CWD",
        b"VSCODE_INJECTION",
        b"VSCODE_NONCE",
        b"VSCODE_PID",
        b"VSCODE_SHELL_INTEGRATION",
    ),
    "tmux": (b"TMUX", b"TMUX_PANE"),
    "screen": (b"STY", b"WINDOW"),
    "Zellij": (b"ZELLIJ", b"ZELLIJ_PANE_ID", b"ZELLIJ_SESSION_NAME"),
    # logins and launchers
    "sshd: one connection": (b"SSH_CLIENT", b"SSH_CONNECTION", b"SSH_TTY"),
    "systemd: one login, one start of a unit": (
        b"INVOCATION_ID",
        b"JOURNAL_STREAM",
        b"MANAGERPID",
        b"SYSTEMD_EXEC_PID",
        b"XDG_SESSION_ID",
        b"XDG_VTNR",
    ),
    "desktops: one start of an application": (
        b"DESKTOP_STARTUP_ID",
        b"GIO_LAUNCHED_DESKTOP_FILE_PID",
        b"XDG_ACTIVATION_TOKEN",
    ),
    "launchd: one start of an application": (b"LaunchInstanceID", b"XPC_SERVICE_NAME"),
    "Node.js: a descriptor that only the host's own child has": (
        b"NODE_CHANNEL_FD",
        b"NODE_CHANNEL_SERIALIZATION_MODE",
    ),
    "W3C trace context: one span of the host": (b"TRACEPARENT", b"TRACESTATE"),
}
"""Who sets them and what they name → the names."""

HOST_MARKS: dict[str, tuple[bytes, ...]] = {
    "opencode 1.18": (b"AGENT", b"OPENCODE"),
    "Claude Code 2.1": (
        b"AI_AGENT",
        b"CLAUDECODE",
        b"CLAUDE_CODE_ENTRYPOINT",
        b"CLAUDE_PROJECT_DIR",
        b"COREPACK_ENABLE_AUTO_PIN",
        b"NoDefaultCurrentDirectoryInExePath",
    ),
    "gemini-cli 0.61": (b"GEMINI_CLI", b"GEMINI_CLI_NO_RELAUNCH", b"GEMINI_CLI_TRUST_WORKSPACE"),
}
"""What one kind of host sets in all that it starts, and no other does → noise to a server for hosts of any kind."""

FORMER_DIRECTORIES = frozenset({b"INIT_CWD", b"OLDPWD"})
"""Directories that the session came from: the shell's last one, npm's. Scrubbed."""

PROJECT_DIRECTORIES = frozenset({b"CLAUDE_PROJECT_DIR"})
"""The session's directory by another name (Claude Code 2.1)."""
