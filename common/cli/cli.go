// Package cli is what the four stages' main functions have in common: flags,
// environment, signals, the start line, the end. What differs between the stages is one
// value in each main.go:
//
//	var stage = cli.Stage{Name: "stage1-iterative", Idle: 5 * time.Second}
//
//	func main() {
//		cfg := cli.Parse(stage, os.Args[1:])
//		listeners, err := Listen(cfg)
//		if err != nil {
//			cfg.Fatal(err)
//		}
//		go cfg.Stop.OnSignal(listeners)
//		go cfg.ReturnMemory()
//		cfg.Started(listeners)
//		cfg.Exit(Serve(listeners, cfg))
//	}
package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/accesslog"
	"fourways.example/common/h1"
	"fourways.example/common/site"
	"fourways.example/common/sock"
)

// Stage is what differs between the stages' command lines.
type Stage struct {
	Name    string
	Workers int           // what -n is by default, or PerCPU; 0: one connection at a time, and no -n
	Idle    time.Duration // what --idle-timeout is by default
	Bind    bool          // whether there is --bind
	// LoopFiles is how many descriptors each worker has for itself, beside its connections: an
	// epoll set, an eventfd.
	LoopFiles int
}

// PerCPU stands for as many workers as there are CPUs that the process may use.
const PerCPU = -1

func (s Stage) workers() int {
	switch s.Workers {
	case 0:
		return 1
	case PerCPU:
		return min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return s.Workers
}

const (
	// exitPatience is how long the process, all else done, waits for the readers of stdout
	// and stderr. It is long for a busy machine, and an end for a reader that is stuck.
	exitPatience = time.Second
	// gracePatience is the same after the grace for responses, of which the five seconds
	// of the contract leave little.
	gracePatience = 100 * time.Millisecond
)

// Config is what a stage's Listen and Serve work with. Nothing in it changes while the
// server runs, but for what Stop and Conns say.
type Config struct {
	Stage   Stage
	Root    string // the folder that is served, absolute
	Port    uint16 // 0: a free one
	Bind    string // auto, dual, separate, 4 or 6
	Workers int    // at least 1
	HTTP    *h1.Config
	Stop    *Stop
	Conns   *ConnLimit // one slot for each open connection

	site           *site.Site
	stdout, stderr *accesslog.Output // nothing that serves writes to these streams itself
	notes          []string          // said at the end of the start line
	noSecret       bool              // there is an account, but SECRET is not set

	warning  sync.Mutex // guards what follows
	warned   string     // what Warn printed last
	warnedAt time.Time
}

// Parse makes a Config of the command line and the environment. It ends the process if
// they are bad (status 2 for a flag, 1 for anything else, after one line on stderr that
// says what to do) or if help is wanted. From here on a signal is not the end
// of the process, and neither is a closed stdout.
func Parse(stage Stage, args []string) *Config {
	// Go leaves EPIPE on a socket to the program, but dies of SIGPIPE when it is stdout
	// or stderr that is closed: `server | head -1` would serve until its next log line.
	signal.Ignore(unix.SIGPIPE)
	// By default the heap may double before garbage is collected, and grow to 4 MB first:
	// that would be most of what 10,000 idle connections take. A request allocates nothing,
	// so collecting earlier costs next to nothing.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	c, err := New(stage, args, os.Getenv, os.Stdout, os.Stderr)
	if errors.Is(err, errHelp) {
		fmt.Print(usage(stage))
		os.Exit(0)
	}
	if err != nil {
		exit(stage, err, exitPatience, accesslog.NewOutput(os.Stderr))
	}
	c.Stop.signals = signals
	return c
}

// New is Parse without the process around it, for tests: it touches no signals and returns
// its errors.
func New(stage Stage, args []string, getenv func(string) string, stdout, stderr io.Writer) (*Config, error) {
	o, err := parse(stage, args)
	if err != nil {
		return nil, err
	}
	root, err := folder(o.root)
	if err != nil {
		return nil, err
	}
	c := &Config{
		Stage: stage, Root: root, Port: o.port, Bind: o.bind, Workers: o.workers,
	}
	conf := content(o, root, getenv)
	switch {
	case conf.User == "":
		c.Note("login is off: set USER_NAME and USER_PASS")
	case len(conf.Secret) == 0:
		c.noSecret = true
		conf.Secret = randomSecret()
	}
	if c.site, err = site.New(conf); err != nil {
		return nil, err
	}
	if c.Stop, err = NewStop(); err != nil {
		_ = c.site.Close()
		return nil, err
	}
	if o.maxConns == 0 {
		o.maxConns = maxConns(descriptors(), o.workers*stage.LoopFiles)
	}
	c.Conns = NewConnLimit(o.maxConns, c.Stop)
	c.stdout, c.stderr = accesslog.NewOutput(stdout), accesslog.NewOutput(stderr)
	c.Stop.exit = func(err error) { c.exit(err, gracePatience) }
	lines := c.stdout
	if o.silent {
		lines = nil
	}
	c.HTTP = &h1.Config{
		Handler: c.site.Handle, Log: accesslog.New(lines, c.stderr), Stop: c.Stop,
		IdleTimeout: o.idle, HeaderTimeout: o.header, BodyTimeout: o.body, WriteTimeout: o.write,
	}
	return c, nil
}

// content is what is served and to whom, as the flags and the environment say.
func content(o options, root string, getenv func(string) string) site.Config {
	conf := site.Config{
		Root: root, Fallback: o.fallback, TokenLife: o.expire,
		User: getenv("USER_NAME"), Pass: getenv("USER_PASS"), Secret: []byte(getenv("SECRET")),
	}
	if conf.User == "" || conf.Pass == "" {
		conf.User, conf.Pass = "", "" // half an account is none
	}
	return conf
}

// randomSecret is a key as long as HS256's hash (RFC 7518 §3.2).
func randomSecret() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it ends the process rather than fail
	return secret
}

// folder makes the root absolute, for the start line, and sees to it that it is one.
func folder(root string) (string, error) {
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err == nil {
		root, err = filepath.Abs(root)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the line names the root already
	}
	if err != nil {
		return "", fmt.Errorf("root %q: %w; choose the folder to serve with -R", root, err)
	}
	return root, nil
}

// Note adds a remark to the start line, for a stage that has something to say about how
// it listens.
func (c *Config) Note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// Started prints the start line: who serves what, on which addresses (with port 0 the
// one that the kernel chose), and what is unusual. It does not wait for the reader.
func (c *Config) Started(listeners []*sock.Listener) {
	var urls []string
	for _, l := range listeners {
		urls = append(urls, "http://"+l.Addr().String())
	}
	workers := "1 worker"
	if c.Workers > 1 {
		workers = strconv.Itoa(c.Workers) + " workers"
	}
	line := fmt.Sprintf("%s: serving %s on %s with %s", c.Stage.Name, c.Root, strings.Join(urls, " and "), workers)
	for _, note := range c.notes {
		line += "; " + note
	}
	line = printable(line) + "\n"
	if c.noSecret {
		line += c.Stage.Name + ": SECRET is not set: a random one signs tokens, which end with this run\n"
	}
	_, _ = c.stdout.Write([]byte(line))
}

// Warn prints one line on stderr, for trouble that the server survives. Trouble that goes
// on is told of again after a minute, not each time that it is met.
func (c *Config) Warn(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	c.warning.Lock()
	defer c.warning.Unlock()
	if err.Error() == c.warned && time.Since(c.warnedAt) < time.Minute {
		return
	}
	c.warned, c.warnedAt = err.Error(), time.Now()
	complain(c.stderr, c.Stage, err)
}

// Fatal ends the process with status 1, after one line on stderr that names what went
// wrong and, where the reason is known, what to do.
func (c *Config) Fatal(err error) { c.Exit(err) }

// Exit ends the process after what Serve returned: with status 0 if that is nil. What is
// left for stdout and stderr is written first, as far as somebody reads it.
func (c *Config) Exit(err error) { c.exit(err, exitPatience) }

func (c *Config) exit(err error, patience time.Duration) {
	if err != nil {
		err = explain(err)
	}
	exit(c.Stage, err, patience, c.stderr, c.stdout)
}

// exit ends the process, after err, if there is one, as the last line on stderr.
func exit(stage Stage, err error, patience time.Duration, stderr *accesslog.Output, others ...*accesslog.Output) {
	if err != nil {
		complain(stderr, stage, err)
	}
	accesslog.Close(patience, append(others, stderr)...)
	os.Exit(status(err))
}

// explain says what to do about an error of Listen.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w; choose another port with -p, or see who has this one: ss -ltnp", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; ports below 1024 are root's, choose another with -p", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w; raise the limit with ulimit -n", err)
	}
	return err
}

func status(err error) int {
	if err == nil {
		return 0
	}
	var bad *BadFlag
	if errors.As(err, &bad) {
		return 2
	}
	return 1
}

// complain prints err as one line.
func complain(w *accesslog.Output, stage Stage, err error) {
	_, _ = w.Write([]byte(printable(stage.Name+": "+err.Error()) + "\n"))
}

// printable keeps a line one line, whatever a path in it is called.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, line)
}
