// Package cli does what the main functions of the four stages have in common. It reads the
// flags and the environment, handles signals, prints the start line and ends the process.
// The stages differ in one value, which each main.go defines:
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
	"net/netip"
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

// A Stage holds the differences between the command lines of the stages.
type Stage struct {
	Name    string
	Workers int           // default of -n, or PerCPU; 0 if the stage has no -n: one connection at a time
	Idle    time.Duration // default of --idle-timeout
	Bind    bool          // the stage has --bind
	Defer   bool          // the stage has --defer-accept
	// LoopFiles is the number of descriptors that each worker uses in addition to its
	// connections: an epoll set and an eventfd.
	LoopFiles int
}

// PerCPU stands for as many workers as there are CPUs that the process may use.
const PerCPU = -1

// workers returns the default number of workers.
func (s Stage) workers() int {
	switch s.Workers {
	case 0:
		return 1
	case PerCPU:
		return min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return s.Workers
}

// workerFiles returns the number of descriptors that each worker uses in addition to its clients'
// connections. A thread that serves one client at a time asks one question at a time.
func (s Stage) workerFiles(tier bool) int {
	switch {
	case !tier:
		return s.LoopFiles
	case s.LoopFiles == 0:
		return 1
	}
	return s.LoopFiles + h1.TierConns
}

const (
	// exitPatience is how long the process waits at its end for the readers of stdout and
	// stderr. It is long enough on a busy machine, and bounds the wait for a reader that
	// does not read.
	exitPatience = time.Second
	// gracePatience replaces exitPatience if the responses took all of grace, because a stop
	// may take five seconds in all (stop-five-seconds in docs/spec.md).
	gracePatience = 100 * time.Millisecond
)

// A Config holds what the Listen and Serve functions of a stage need. It does not change
// while the server runs, except for the states of Stop and Conns.
type Config struct {
	Stage   Stage
	Root    string // absolute path of the folder to serve
	Port    uint16 // 0 for a free port
	Bind    string // auto, dual, separate, 4 or 6
	Workers int    // at least 1
	// DeferAccept is how long the kernel keeps a silent client from being accepted, see
	// sock.Listener.DeferAccept; 0 without --defer-accept.
	DeferAccept time.Duration
	HTTP        *h1.Config
	Stop        *Stop
	Conns       *ConnLimit // one slot for each open connection

	site           *site.Site
	stdout, stderr *accesslog.Output // the only writers of these streams
	notes          []string          // the remarks at the end of the start line
	noSecret       bool              // there is an account, but SECRET is not set

	warning  sync.Mutex // guards what follows
	warned   string     // the last message of Warn
	warnedAt time.Time
}

// Parse makes a Config from the command line and the environment.
//
// Parse ends the process after -h and --version, and after an error: it prints one line on
// stderr that says what to do, and the exit status is 2 for a bad flag and 1 for any other
// error. After Parse has returned, neither a signal nor a closed stdout kills the process.
func Parse(stage Stage, args []string) *Config {
	// For a socket, Go leaves EPIPE to the program. For stdout and stderr, Go lets SIGPIPE
	// kill the process: `server | head -1` would end at its next log line.
	signal.Ignore(unix.SIGPIPE)
	// By default, Go collects garbage only when the heap has doubled, and never while it is
	// below 4 MB. This garbage would be most of the memory of 10,000 idle connections. A request
	// allocates nothing, so collecting earlier costs almost nothing.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	if !signal.Ignored(unix.SIGHUP) { // nohup(1) ignores it, so that the server outlives the terminal
		signal.Notify(signals, unix.SIGHUP)
	}
	c, err := New(stage, args, os.Getenv, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errHelp):
		fmt.Print(usage(stage))
		os.Exit(0)
	case errors.Is(err, errVersion):
		fmt.Println(stage.Name, version())
		os.Exit(0)
	case err != nil:
		exit(stage, err, exitPatience, accesslog.NewOutput(os.Stderr))
	}
	c.Stop.signals = signals
	return c
}

// version returns the version of the program: the one of its module, or the commit that it
// was built from, or "devel" if the build recorded neither.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return s.Value
		}
	}
	return "devel"
}

// New is like Parse, for tests: it handles no signals and returns its errors.
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
		Stage: stage, Root: root, Port: o.port, Bind: o.bind, Workers: o.workers, DeferAccept: o.deferAccept,
	}
	conf := content(stage, o, root, getenv)
	switch {
	case conf.User == "":
		c.Note("login is off: set USER_NAME and USER_PASS")
	case len(conf.Secret) == 0:
		c.noSecret = true
		conf.Secret = randomSecret()
	}
	if !conf.Tier {
		c.Note("notes are kept in memory")
	}
	conf.Warn = c.Warn
	if c.site, err = site.New(conf); err != nil {
		return nil, err
	}
	if c.Stop, err = NewStop(); err != nil {
		_ = c.site.Close()
		return nil, err
	}
	if o.maxConns == 0 {
		o.maxConns = maxConns(descriptors(), o.workers*stage.workerFiles(o.notes.IsValid()))
	}
	c.Conns = NewConnLimit(o.maxConns, c.Stop)
	c.stdout, c.stderr = accesslog.NewOutput(stdout), accesslog.NewOutput(stderr)
	c.Stop.exit = func(err error) { c.exit(err, gracePatience) }
	lines := c.stdout
	if o.silent {
		lines = nil
	}
	c.HTTP = &h1.Config{
		Handler: c.site.Handle, Early: c.site.Early, Log: accesslog.New(lines, c.stderr), Silent: o.silent, Stop: c.Stop,
		IdleTimeout: o.idle, HeaderTimeout: o.header, BodyTimeout: o.body, WriteTimeout: o.write,
		Tier: o.notes, TierTimeout: o.tier,
	}
	return c, nil
}

// content returns the settings of the site that the flags and the environment give.
func content(stage Stage, o options, root string, getenv func(string) string) site.Config {
	conf := site.Config{
		Root: root, Fallback: o.fallback, TokenLife: o.expire,
		User: getenv("USER_NAME"), Pass: getenv("USER_PASS"), Secret: []byte(getenv("SECRET")),
		Stage: stage.Name, Version: version(), Tier: o.notes.IsValid(),
	}
	if conf.User == "" || conf.Pass == "" {
		conf.User, conf.Pass = "", "" // a name without a password is not an account
	}
	return conf
}

// randomSecret returns a key with the length of the hash of HS256 (RFC 7518 §3.2).
func randomSecret() []byte {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: without random numbers it ends the process
	return secret
}

// folder returns the absolute path of the root, for the start line. It is an error if the
// root is not a folder, or if this user cannot read it and open the files in it.
func folder(root string) (string, error) {
	hint := "choose the folder to serve with -R"
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err == nil {
		// The effective user counts, because it is the one that opens the files.
		err = unix.Faccessat(unix.AT_FDCWD, root, unix.R_OK|unix.X_OK, unix.AT_EACCESS)
	}
	if errors.Is(err, fs.ErrPermission) {
		hint = "give this user read and execute permission, or choose another folder with -R"
	}
	if err == nil {
		root, err = filepath.Abs(root)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the message names the root already
	}
	if err != nil {
		return "", fmt.Errorf("root %q: %w; %s", root, err, hint)
	}
	return root, nil
}

// Note adds a remark to the start line, for example about the address families that the
// machine does not have. It must be called before Started.
func (c *Config) Note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// Started prints the start line. It names the stage, the root, the addresses (with port 0,
// the port that the kernel chose) and the number of workers, and adds the notes. Started
// does not wait until the line is written.
func (c *Config) Started(listeners []*sock.Listener) {
	var urls []string
	for _, l := range listeners {
		urls = append(urls, "http://"+l.Addr().String())
	}
	workers := "1 worker"
	if c.Workers > 1 {
		workers = strconv.Itoa(c.Workers) + " workers"
	}
	line := fmt.Sprintf("%s: serving %s on %s with %s; open %s",
		c.Stage.Name, c.Root, strings.Join(urls, " and "), workers, c.browserURL(listeners))
	for _, note := range c.notes {
		line += "; " + note
	}
	line = printable(line) + "\n"
	if c.noSecret {
		line += c.Stage.Name + ": SECRET is not set: a random key signs the tokens, which are valid until the server stops\n"
	}
	_, _ = c.stdout.Write([]byte(line))
}

// browserURL returns the URL of the server for a browser on this machine. An unspecified
// address, 0.0.0.0 or [::], is for listening only.
func (c *Config) browserURL(listeners []*sock.Listener) string {
	addr := listeners[0].Addr()
	for _, l := range listeners {
		if l.Addr().Addr().Is4() {
			addr = l.Addr()
		}
	}
	switch addr.Addr() {
	case netip.IPv4Unspecified():
		addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
	case netip.IPv6Unspecified():
		if c.Bind != "6" {
			// This socket takes the clients of both families, but the machine may have only
			// one of them. A browser tries both loopback addresses for localhost.
			return fmt.Sprintf("http://localhost:%d/", addr.Port())
		}
		addr = netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())
	}
	return fmt.Sprintf("http://%v/", addr)
}

// Warn prints one line on stderr, for an error after which the server goes on. It prints
// the same message at most once a minute.
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

// Fatal prints err as one line on stderr and ends the process with status 1. For a known
// error, the line also says what to do.
func (c *Config) Fatal(err error) { c.Exit(err) }

// Exit ends the process with the error that Serve returned. If it is nil, the server has
// stopped after a signal: the last line on stdout says so, and the status is 0. Otherwise
// Exit is like Fatal. Exit waits a second at most for the readers of stdout and stderr.
func (c *Config) Exit(err error) { c.exit(err, exitPatience) }

func (c *Config) exit(err error, patience time.Duration) {
	if err != nil {
		err = explain(err)
	} else {
		c.stdout.Last([]byte(c.Stage.Name + ": stopped\n"))
	}
	exit(c.Stage, err, patience, c.stderr, c.stdout)
}

// exit ends the process. If err is not nil, it is the last line on stderr.
func exit(stage Stage, err error, patience time.Duration, stderr *accesslog.Output, others ...*accesslog.Output) {
	if err != nil {
		complain(stderr, stage, err)
	}
	accesslog.Close(patience, append(others, stderr)...)
	os.Exit(status(err))
}

// explain adds advice to an error of Listen.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w; choose another port with -p, or find the program that uses this one with ss -ltnp", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; only root may use ports below 1024; choose another port with -p", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w; raise the limit on descriptors with ulimit -n", err)
	}
	return err
}

// status returns the exit status for err.
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

// complain writes err as one line.
func complain(w *accesslog.Output, stage Stage, err error) {
	_, _ = w.Write([]byte(printable(stage.Name+": "+err.Error()) + "\n"))
}

// printable replaces line ends and other characters that cannot be printed, which the name
// of the root or an error may contain.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, line)
}
