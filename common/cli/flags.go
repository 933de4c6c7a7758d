package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// errHelp is what parse returns for -h.
var errHelp = errors.New("help is wanted")

// BadFlag is the error for a command line that cannot be understood, in words for the
// person who typed it.
type BadFlag struct{ text string }

func (e *BadFlag) Error() string { return e.text }

func badFlag(format string, args ...any) error {
	return &BadFlag{fmt.Sprintf(format, args...)}
}

// flag is one flag of the command line. All stages know all of them, so that a
// flag that only a later stage has can be refused with a word on which one that is.
type flag struct {
	short byte   // 0 if it has none
	long  string // without the dashes
	value string // what the help calls its value; empty if it takes none
	help  string
	set   func(o *options, value string) error
	lacks func(s Stage) string // why this stage does not have it; empty if it does; nil: all have it
}

// options is the command line, checked.
type options struct {
	port     uint16
	root     string
	fallback bool
	expire   time.Duration
	silent   bool
	workers  int
	bind     string
	maxConns int // 0: by the limit on descriptors

	idle, header, body, write time.Duration
}

// names is how the flag is spelled in the help and in errors: -p, --port.
func (f *flag) names() string {
	if f.short == 0 {
		return "--" + f.long
	}
	return "-" + string(f.short) + ", --" + f.long
}

const (
	// maxWorkers is far below the 10,000 threads at which the Go runtime gives up.
	maxWorkers = 4096
	// A time-out has at least what the kernel's clocks can tell apart, and at most
	// what fits poll(2)'s int of milliseconds many times over.
	minTimeout, maxTimeout = time.Millisecond, 24 * time.Hour
)

// flags in the order of the help.
var flags = []flag{
	{
		short: 'p', long: "port", value: "PORT", help: "TCP port; 0 picks a free one (8080)",
		set: number(0, 1<<16-1, "a port is a number", func(o *options, n int) { o.port = uint16(n) }),
	},
	{
		short: 'R', long: "root", value: "ROOT", help: "folder to serve (.)",
		set: func(o *options, v string) error { o.root = v; return nil },
	},
	{
		short: 'a', long: "fallback", help: "HTML5 fallback: PATH.html, /200.html or /index.html for no file",
		set: func(o *options, _ string) error { o.fallback = true; return nil },
	},
	{
		short: 'e', long: "expire", value: "SECONDS", help: "life of a login token (86400)",
		set: number(1, 1<<31-1, "a token lives for whole seconds", func(o *options, n int) { o.expire = time.Duration(n) * time.Second }),
	},
	{
		short: 's', long: "silent", help: "no access log",
		set: func(o *options, _ string) error { o.silent = true; return nil },
	},
	{
		short: 'n', long: "workers", value: "WORKERS", help: "threads that serve",
		set: number(1, maxWorkers, "the workers are a number", func(o *options, n int) { o.workers = n }),
		lacks: func(s Stage) string {
			if s.Workers == 0 {
				return "this stage serves one connection at a time; stage2-threadpool adds the pool"
			}
			return ""
		},
	},
	{
		long: "bind", value: "HOW", help: "auto, dual (one socket), separate (two sockets), 4 or 6 (auto)",
		set: func(o *options, v string) error {
			switch v {
			case "auto", "dual", "separate", "4", "6":
				o.bind = v
				return nil
			}
			return errors.New("choose auto, dual, separate, 4 or 6")
		},
		lacks: func(s Stage) string {
			if !s.Bind {
				return "this stage listens on IPv4 alone; stage3-dualstack adds IPv6 and the choice"
			}
			return ""
		},
	},
	{
		long: "idle-timeout", value: "TIME", help: "no request begun: closed",
		set: timeout(func(o *options, d time.Duration) { o.idle = d }),
	},
	{
		long: "header-timeout", value: "TIME", help: "a request's first byte to the end of its head (10s)",
		set: timeout(func(o *options, d time.Duration) { o.header = d }),
	},
	{
		long: "body-timeout", value: "TIME", help: "the end of a head to the end of its body (30s)",
		set: timeout(func(o *options, d time.Duration) { o.body = d }),
	},
	{
		long: "write-timeout", value: "TIME", help: "no byte of a response accepted by the client (30s)",
		set: timeout(func(o *options, d time.Duration) { o.write = d }),
	},
	{
		long: "max-conns", value: "N", help: "open connections; more wait",
		set: number(1, 1<<30, "the connections are a number", func(o *options, n int) { o.maxConns = n }),
	},
}

func number(least, most int, what string, set func(*options, int)) func(*options, string) error {
	return func(o *options, v string) error {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || int(n) < least || int(n) > most {
			return fmt.Errorf("%s, from %d to %d", what, least, most)
		}
		set(o, int(n))
		return nil
	}
}

func timeout(set func(*options, time.Duration)) func(*options, string) error {
	return func(o *options, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < minTimeout || d > maxTimeout {
			return errors.New("a time-out is written like 60s or 500ms, from 1ms to 24h")
		}
		set(o, d)
		return nil
	}
}

// parse reads the command line as getopt_long(3) does: -p8080, -p 8080, --port=8080,
// --port 8080, -as for -a -s. Of a flag given twice the last counts.
func parse(stage Stage, args []string) (options, error) {
	o := options{
		port: 8080, root: ".", expire: 24 * time.Hour, workers: stage.workers(), bind: "auto",
		idle: stage.Idle, header: 10 * time.Second, body: 30 * time.Second, write: 30 * time.Second,
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && len(args) == 0:
			return o, nil
		case arg == "--":
			return o, badFlag("%q: not a flag, and nothing but flags is expected; -h lists them", args[0])
		case strings.HasPrefix(arg, "--"):
			name, value, given := strings.Cut(arg[2:], "=")
			if name == "help" {
				return o, errHelp
			}
			f := find(func(f *flag) bool { return f.long == name })
			if f == nil {
				return o, badFlag("%q: no such flag; -h lists them", "--"+name)
			}
			if given && f.value == "" {
				return o, badFlag("--%s: takes no value; leave out %q", name, "="+value)
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
				if arg[i] == 'h' {
					return o, errHelp
				}
				f := find(func(f *flag) bool { return f.short == arg[i] })
				if f == nil {
					return o, badFlag("%q: no such flag; -h lists them", "-"+arg[i:i+1])
				}
				value, name := "", "-"+arg[i:i+1]
				if f.value != "" {
					value, i = arg[i+1:], len(arg) // the rest of this word, or the next one
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
			return o, badFlag("%q: not a flag, and nothing but flags is expected; -h lists them", arg)
		}
	}
	return o, nil
}

func find(is func(*flag) bool) *flag {
	for i := range flags {
		if is(&flags[i]) {
			return &flags[i]
		}
	}
	return nil
}

// missing is the error for a flag without its value, at the end of the line.
func (f *flag) missing(name string) error {
	return badFlag("%s: its %s is missing; -h explains", name, f.value)
}

func (f *flag) apply(stage Stage, o *options, name, value string) error {
	if f.lacks != nil {
		if why := f.lacks(stage); why != "" {
			return badFlag("%s: %s", name, why)
		}
	}
	if err := f.set(o, value); err != nil {
		return badFlag("%s %q: %v", name, value, err)
	}
	return nil
}

// usage is what -h prints.
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
				help += fmt.Sprintf(" and %d a worker", stage.LoopFiles)
			}
			help += ")"
		}
		fmt.Fprintf(&b, "  %-25s %s\n", names, help)
	}
	fmt.Fprintf(&b, "  %-25s %s\n", "-h, --help", "this")
	b.WriteString(`
A TIME is written like 60s or 500ms. The environment names the one account, USER_NAME
and USER_PASS (without them nobody can log in), and SECRET, which signs its tokens.
`)
	return b.String()
}
