package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parse returns these errors for --help and --version.
var (
	errHelp    = errors.New("help requested")
	errVersion = errors.New("version requested")
)

// BadFlag is the error for a bad command line. Its text is for the user who typed it.
type BadFlag struct{ text string }

func (e *BadFlag) Error() string { return e.text }

func badFlag(format string, args ...any) error {
	return &BadFlag{fmt.Sprintf(format, args...)}
}

// A flag is one flag of the command line. All stages know all flags, so that the error for
// a flag of a later stage can name that stage.
type flag struct {
	short byte   // 0 if the flag has no short form
	long  string // without the dashes
	value string // the name of the value in the help; empty if the flag takes none
	help  string
	set   func(o *options, value string) error
	lacks func(s Stage) string // returns why the stage lacks the flag, or ""; nil if all stages have the flag
}

// options holds the values of the flags.
type options struct {
	port     uint16
	root     string
	fallback bool
	expire   time.Duration
	silent   bool
	workers  int
	bind     string
	maxConns int // 0 to compute it from the limit on descriptors

	idle, header, body, write time.Duration
	deferAccept               time.Duration // 0 to accept at once

	notes netip.AddrPort // of the Redis server; zero to keep the notes in memory
	tier  time.Duration
}

// names returns both forms of the flag for the help: "-p, --port".
func (f *flag) names() string {
	if f.short == 0 {
		return "--" + f.long
	}
	return "-" + string(f.short) + ", --" + f.long
}

const (
	// maxWorkers is far below 10,000, the number of threads at which the Go runtime ends the
	// process.
	maxWorkers = 4096
	// minTimeout is the resolution of poll(2). maxTimeout is far below its maximum, an int
	// of milliseconds.
	minTimeout, maxTimeout = time.Millisecond, 24 * time.Hour
)

// flags lists all flags, in the order of the help.
var flags = []flag{
	{
		short: 'p', long: "port", value: "PORT", help: "TCP port to listen on; 0 picks a free one (8080)",
		set: number(0, 1<<16-1, "a number", func(o *options, n int) { o.port = uint16(n) }),
	},
	{
		short: 'R', long: "root", value: "ROOT", help: "folder to serve (.)",
		set: func(o *options, v string) error { o.root = v; return nil },
	},
	{
		short: 'a', long: "fallback", help: "HTML5 fallback: PATH.html, /200.html or /index.html if PATH is no file",
		set: func(o *options, _ string) error { o.fallback = true; return nil },
	},
	{
		short: 'e', long: "expire", value: "SECONDS", help: "life of a login token (86400)",
		set: number(1, 1<<31-1, "a number of seconds", func(o *options, n int) { o.expire = time.Duration(n) * time.Second }),
	},
	{
		short: 's', long: "silent", help: "write no access log",
		set: func(o *options, _ string) error { o.silent = true; return nil },
	},
	{
		short: 'n', long: "workers", value: "WORKERS", help: "number of threads that serve connections",
		set: number(1, maxWorkers, "a number", func(o *options, n int) { o.workers = n }),
		lacks: func(s Stage) string {
			if s.Workers == 0 {
				return "this stage serves one connection at a time; stage2-threadpool adds the pool"
			}
			return ""
		},
	},
	{
		long: "bind", value: "HOW", help: "4, 6, dual (one socket), separate (two sockets) or auto (auto)",
		set: func(o *options, v string) error {
			switch v {
			case "auto", "dual", "separate", "4", "6":
				o.bind = v
				return nil
			}
			return errors.New("want auto, dual, separate, 4 or 6")
		},
		lacks: func(s Stage) string {
			if !s.Bind {
				return "this stage listens on IPv4 alone; stage3-dualstack adds IPv6 and this flag"
			}
			return ""
		},
	},
	{
		long: "idle-timeout", value: "TIME", help: "close a connection on which no request begins",
		set: timeout(func(o *options, d time.Duration) { o.idle = d }),
	},
	{
		long: "header-timeout", value: "TIME", help: "time limit for the head of a request, from its first byte (10s)",
		set: timeout(func(o *options, d time.Duration) { o.header = d }),
	},
	{
		long: "body-timeout", value: "TIME", help: "time limit for the body of a request, from the end of its head (30s)",
		set: timeout(func(o *options, d time.Duration) { o.body = d }),
	},
	{
		long: "write-timeout", value: "TIME", help: "close a connection whose client takes no byte of a response (30s)",
		set: timeout(func(o *options, d time.Duration) { o.write = d }),
	},
	{
		long: "notes", value: "URL", help: "keep the notes in Redis: redis://ADDRESS:PORT (in memory)",
		set: func(o *options, v string) (err error) { o.notes, err = redis(v); return err },
	},
	{
		long: "tier-timeout", value: "TIME", help: "time limit for the reply of Redis (2s)",
		set: timeout(func(o *options, d time.Duration) { o.tier = d }),
	},
	{
		long: "max-conns", value: "N", help: "limit on open connections",
		set: number(1, 1<<30, "a number", func(o *options, n int) { o.maxConns = n }),
	},
	{
		long: "defer-accept", help: "accept a client only when it has sent something, or after a second",
		set: func(o *options, _ string) error { o.deferAccept = time.Second; return nil },
		lacks: func(s Stage) string {
			if !s.Defer {
				return "this stage accepts every client at once; stage4-epoll has this flag"
			}
			return ""
		},
	},
	{
		short: 'h', long: "help", help: "print this help and exit",
		set: func(*options, string) error { return errHelp },
	},
	{
		long: "version", help: "print the name and the version and exit",
		set: func(*options, string) error { return errVersion },
	},
}

// number returns a set function for a flag whose value is a whole number. The
// parameter what describes the value in the error.
func number(least, most int, what string, set func(*options, int)) func(*options, string) error {
	return func(o *options, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || int(n) < least || int(n) > most {
			return fmt.Errorf("want %s from %d to %d", what, least, most)
		}
		set(o, int(n))
		return nil
	}
}

// timeout returns a set function for a flag whose value is a time-out.
func timeout(set func(*options, time.Duration)) func(*options, string) error {
	return func(o *options, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < minTimeout || d > maxTimeout {
			return errors.New("want a time such as 60s or 500ms, from 1ms to 24h")
		}
		set(o, d)
		return nil
	}
}

// redis parses the URL of a Redis server. It does not resolve names, because nobody must wait for a
// name server. There is no user and no password, because the server speaks without encryption.
func redis(v string) (addr netip.AddrPort, err error) {
	rest, ok := strings.CutPrefix(v, "redis://")
	if port, local := strings.CutPrefix(rest, "localhost:"); local {
		rest = "127.0.0.1:" + port
	}
	if ok {
		addr, err = netip.ParseAddrPort(rest)
	}
	if !ok || err != nil || addr.Port() == 0 || addr.Addr().Zone() != "" {
		return addr, errors.New("want redis://ADDRESS:PORT with an IPv4 address, an IPv6 address in brackets, or localhost, and a port from 1 to 65535")
	}
	return addr, nil
}

// parse reads the command line like getopt_long(3): -p8080, -p 8080, --port=8080,
// --port 8080, and -as for -a -s. If a flag is given twice, the last value counts.
func parse(stage Stage, args []string) (options, error) {
	o := options{
		port: 8080, root: ".", expire: 24 * time.Hour, workers: stage.workers(), bind: "auto",
		idle: stage.Idle, header: 10 * time.Second, body: 30 * time.Second, write: 30 * time.Second, tier: 2 * time.Second,
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && len(args) == 0:
			return o, nil
		case arg == "--":
			return o, badFlag("%q: not a flag, and the program takes no other arguments; -h lists the flags", args[0])
		case strings.HasPrefix(arg, "--"):
			name, value, given := strings.Cut(arg[2:], "=")
			f := find(func(f *flag) bool { return f.long == name })
			if f == nil {
				return o, badFlag("%q: no such flag; -h lists the flags", "--"+name)
			}
			if given && f.value == "" {
				return o, badFlag("--%s: this flag takes no value; leave out %q", name, "="+value)
			}
			if f.value != "" && !given {
				if len(args) == 0 {
					return o, f.missing("--" + name)
				}
				value, args = args[0], args[1:]
			}
			if err := f.apply(stage, &o, "--"+name, value); err != nil {
				return o, err
			}
		case len(arg) > 1 && arg[0] == '-':
			for i := 1; i < len(arg); i++ {
				f := find(func(f *flag) bool { return f.short == arg[i] })
				if f == nil {
					return o, badFlag("%q: no such flag; -h lists the flags", "-"+arg[i:i+1])
				}
				value, name := "", "-"+arg[i:i+1]
				if f.value != "" {
					value, i = arg[i+1:], len(arg) // the rest of this argument, or the next argument
					if value == "" {
						if len(args) == 0 {
							return o, f.missing(name)
						}
						value, args = args[0], args[1:]
					}
				}
				if err := f.apply(stage, &o, name, value); err != nil {
					return o, err
				}
			}
		default:
			return o, badFlag("%q: not a flag, and the program takes no other arguments; -h lists the flags", arg)
		}
	}
	return o, nil
}

// find returns the flag that match accepts, or nil.
func find(match func(*flag) bool) *flag {
	for i := range flags {
		if match(&flags[i]) {
			return &flags[i]
		}
	}
	return nil
}

// missing returns the error for a flag without its value at the end of the command line.
func (f *flag) missing(name string) error {
	return badFlag("%s: the %s is missing; -h explains the flag", name, f.value)
}

// apply sets the option of the flag. name is the form that the user typed.
func (f *flag) apply(stage Stage, o *options, name, value string) error {
	if f.lacks != nil {
		if why := f.lacks(stage); why != "" {
			return badFlag("%s: %s", name, why)
		}
	}
	err := f.set(o, value)
	if err == nil || err == errHelp || err == errVersion {
		return err
	}
	return badFlag("%s %q: %v", name, value, err)
}

// usage returns the help.
func usage(stage Stage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s [flags]\n\n", stage.Name)
	for i := range flags {
		f := &flags[i]
		if f.lacks != nil && f.lacks(stage) != "" {
			continue
		}
		names := f.names()
		if f.short == 0 {
			names = "    " + names
		}
		if f.value != "" {
			names += " " + f.value
		}
		help := f.help
		switch f.long {
		case "workers":
			help += fmt.Sprintf(" (%d)", stage.workers())
		case "idle-timeout":
			help += fmt.Sprintf(" (%v)", stage.Idle)
		case "max-conns":
			help += fmt.Sprintf(" (descriptors less %d", cacheFiles+otherFiles)
			if stage.LoopFiles > 0 {
				help += fmt.Sprintf(" and %d for each worker", stage.LoopFiles)
			}
			help += ")"
		}
		fmt.Fprintf(&b, "  %-25s %s\n", names, help)
	}
	b.WriteString(`
The defaults are in parentheses. A TIME is written like 60s or 500ms.

The environment variables USER_NAME and USER_PASS define the only account; without them
nobody can log in. SECRET is the key that signs the login tokens; without it the server
makes up a random one.
`)
	return b.String()
}
