// Package servers starts the servers that are compared, with one folder for all of them, and reads from /proc what
// they cost.
//
// The stages are built from the sources. The peers are net/http, fasthttp, nginx, h2o and the floor, a C program
// that does only what no server can leave out. A peer that is not installed is missing, and not an error.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// A Kind is a server that can be started.
type Kind struct {
	Name  string // for the command line
	Label string // for tables and pictures
	// Only lists the workloads and sections that it is for; nil stands for all of them.
	Only []string
	// Note says how it is configured, for the reader of a table.
	Note  string
	start func(w *World, ctx context.Context) (*process.Server, string, error)
}

// ErrMissing is the reason why a server is left out. What is a program that is not installed, and Help the way to get
// it. If What is empty, Help is the whole reason.
type ErrMissing struct{ What, Help string }

func (e *ErrMissing) Error() string {
	if e.What == "" {
		return e.Help
	}
	return e.What + " is not installed; " + e.Help
}

// Kinds lists all servers, the stages first.
var Kinds = []Kind{
	stage(1, "stage 1", "-s"),
	stage(2, "stage 2", "-s"),
	stage(3, "stage 3", "-s"),
	stage(4, "stage 4", "-s"),
	{Name: "stage4-defer", Label: "stage 4 --defer-accept", Only: []string{"churn"}, Note: "-s --defer-accept", start: startDeferred},
	{Name: "nethttp", Label: "net/http", Note: "http.FileServer", start: goPeer("nethttp")},
	{Name: "fasthttp", Label: "fasthttp", Note: "fasthttp.FS", start: goPeer("fasthttp")},
	{Name: "nginx", Label: "nginx", Note: "one worker for each CPU, no access log, sendfile, tcp_nopush, open_file_cache; the login is `return 200`", start: startNginx},
	{Name: "nginx-copy", Label: "nginx, sendfile off", Only: []string{"small1k"}, Note: "as nginx, but with sendfile and tcp_nopush off: it reads files and writes what it has read", start: startNginxCopy},
	{Name: "h2o", Label: "h2o", Note: "one thread for each CPU, no access log; the login is a static file", start: startH2O},
	{
		Name: "floor", Label: "C floor", Note: "gcc -O2; one loop for each CPU and a fixed answer, no file", start: startFloor,
		Only: []string{"small1k", "login40", "login500", "login10k", "pipelined16", "active100", "active10k", "idle10k", "sweep", "memory", "open"},
	},
}

// Runs reports whether the server is for a workload or a section.
func (k *Kind) Runs(name string) bool { return k.Only == nil || slices.Contains(k.Only, name) }

// A World has what all servers share. The caller must close it.
type World struct {
	Root  string // the folder that is served
	Files int    // RLIMIT_NOFILE, which is raised to the hard limit

	dir     string
	shop    *variants.Workshop
	running []*Running
}

// A Running is a server that runs.
type Running struct {
	*Kind
	*process.Server
	Version string
}

// NewWorld makes the folder, and raises the limit of open files for this process and the servers.
func NewWorld() (*World, error) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lab-bench-")
	if err != nil {
		return nil, err
	}
	w := &World{dir: dir, Root: filepath.Join(dir, "root")}
	if err = os.Chmod(dir, 0o755); err == nil { // nginx and h2o run as another user
		err = makeRoot(w.Root)
	}
	if err == nil {
		w.shop, err = repo.NewWorkshop()
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"} {
		_ = os.Unsetenv(name) // the servers in Go run as they do without settings
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err == nil {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l) // explicitly, so that the servers inherit it
		w.Files = int(min(l.Max, 1<<20))
	}
	return w, nil
}

// Dir is a folder for files that live as long as the World.
func (w *World) Dir() string { return w.dir }

// Close ends all servers and removes the files.
func (w *World) Close() {
	for _, r := range w.running {
		r.Signal(unix.SIGCONT)
		r.Signal(unix.SIGTERM)
	}
	for _, r := range w.running {
		r.Dismiss()
	}
	w.running = nil
	if w.shop != nil {
		w.shop.Close()
	}
	_ = os.RemoveAll(w.dir)
}

// Start starts a server, and returns when it accepts connections. The error is an *ErrMissing if it is not installed.
func (w *World) Start(ctx context.Context, name string) (*Running, error) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no server %q; -l lists them", name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	server, version, err := Kinds[i].start(w, ctx)
	if err != nil {
		if _, missing := errors.AsType[*ErrMissing](err); missing || ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &Running{Kind: &Kinds[i], Server: server, Version: version}
	w.running = append(w.running, r)
	return r, nil
}

// Stop ends a server.
func (w *World) Stop(r *Running) {
	r.Dismiss()
	w.running = slices.DeleteFunc(w.running, func(other *Running) bool { return other == r })
}

func stage(n int, label string, flags ...string) Kind {
	name := fmt.Sprintf("stage%d", n)
	return Kind{Name: name, Label: label, Note: strings.Join(flags, " "), start: func(w *World, ctx context.Context) (*process.Server, string, error) {
		prog, err := w.shop.Real(ctx, n)
		if err != nil {
			return nil, "", err
		}
		s, err := prog.Begin(process.Config{Flags: flags, Root: w.Root})
		return s, stages.Dirs[n] + " from this tree", err
	}}
}

func startDeferred(w *World, ctx context.Context) (*process.Server, string, error) {
	prog, err := w.shop.Real(ctx, 4)
	if err != nil {
		return nil, "", err
	}
	_, help, _, err := prog.Exec(process.Config{}, "--help")
	if err != nil {
		return nil, "", err
	}
	if !strings.Contains(help, "--defer-accept") {
		return nil, "", &ErrMissing{"", "this stage 4 has no flag --defer-accept"}
	}
	s, err := prog.Begin(process.Config{Flags: []string{"-s", "--defer-accept"}, Root: w.Root})
	return s, stages.Dirs[4] + " from this tree", err
}

// begin starts a peer. A Guest need not print a start line.
func (w *World) begin(path string, args []string, port int) (*process.Server, error) {
	prog := &process.Program{Path: path, Args: args, Guest: &process.Guest{}}
	return prog.Begin(process.Config{Root: w.Root, Port: port})
}

// goPeer builds and starts a Go program of lab/support/peers.
func goPeer(name string) func(*World, context.Context) (*process.Server, string, error) {
	return func(w *World, ctx context.Context) (*process.Server, string, error) {
		path := filepath.Join(w.dir, name)
		cmd := command(ctx, "go", "build", "-buildvcs=false", "-o", path, "./support/peers/"+name)
		cmd.Dir = filepath.Join(w.shop.Repo.Root, "lab")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, "", fmt.Errorf("go build: %w%s", err, process.Indent(string(out)))
		}
		version := runtime.Version()
		if name != "nethttp" {
			out, _ := exec.CommandContext(ctx, "go", "version", "-m", path).Output()
			if m := regexp.MustCompile(`dep\s+\S*/` + name + `\s+(\S+)`).FindSubmatch(out); m != nil {
				version = string(m[1]) + ", " + version
			}
		}
		s, err := w.begin(path, nil, 0)
		return s, version, err
	}
}

func startFloor(w *World, ctx context.Context) (*process.Server, string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return nil, "", &ErrMissing{"gcc, which builds the C floor,", "apt-get install gcc libc6-dev"}
	}
	path := filepath.Join(w.dir, "floor")
	source := filepath.Join(w.shop.Repo.Root, "lab", "support", "peers", "floor", "floor.c")
	if out, err := command(ctx, gcc, "-O2", "-pthread", "-o", path, source).CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("gcc: %w%s", err, process.Indent(string(out)))
	}
	s, err := w.begin(path, nil, 0)
	version, _, _ := strings.Cut(output(ctx, gcc, "--version"), "\n")
	return s, version, err
}

func startNginx(w *World, ctx context.Context) (*process.Server, string, error) {
	return w.nginx(ctx, settings{Sendfile: true})
}

func startNginxCopy(w *World, ctx context.Context) (*process.Server, string, error) {
	return w.nginx(ctx, settings{})
}

func (w *World) nginx(ctx context.Context, s settings) (*process.Server, string, error) {
	path, err := find("nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx")
	if err != nil {
		return nil, "", &ErrMissing{"nginx", "apt-get install nginx-light"}
	}
	command := path + " -e stderr"
	if setpriv, err := exec.LookPath("setpriv"); err == nil {
		// If the lab is killed, the kernel kills its children. The master process of nginx needs a signal that it can
		// pass on to its workers.
		command = setpriv + " --pdeathsig TERM " + command
	}
	server, err := w.configured("nginx", s, command)
	version, _, _ := strings.Cut(output(ctx, path, "-v"), "\n")
	return server, strings.TrimPrefix(version, "nginx version: "), err
}

func startH2O(w *World, ctx context.Context) (*process.Server, string, error) {
	path, err := find("h2o", "/usr/sbin/h2o", "/usr/local/bin/h2o")
	if err != nil {
		return nil, "", &ErrMissing{"h2o", "apt-get install h2o"}
	}
	s, err := w.configured("h2o", settings{}, path)
	version, _, _ := strings.Cut(output(ctx, path, "--version"), "\n")
	return s, version, err
}

// configured writes a configuration and starts a server with it, in the foreground. A shell drops the flags -p and
// -R, and is replaced by the server. The server has a folder of its own, because the same program may run twice.
func (w *World) configured(name string, s settings, command string) (*process.Server, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	if s.Dir, err = os.MkdirTemp(w.dir, name+"-"); err != nil {
		return nil, err
	}
	s.Root, s.Port, s.Workers, s.Conns, s.Files = w.Root, port, runtime.NumCPU(), max(512, w.Files-1000), w.Files
	if os.Geteuid() == 0 {
		s.User = "root" // otherwise both take a user that need not exist
	}
	t := nginxConf
	if name == "h2o" {
		t = h2oConf
	}
	text, err := render(t, s)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(s.Dir, name+".conf")
	if err := os.WriteFile(conf, text, 0o644); err != nil {
		return nil, err
	}
	return w.begin("/bin/sh", []string{"-c", "exec " + command + ` -c "$0"`, conf}, port)
}

// find returns the first of the programs that is installed. Folders such as /usr/sbin are not in everyone's $PATH.
func find(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// command is exec.CommandContext for a compiler. At the end of the context it gets SIGINT, so that it can remove its files.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func output(ctx context.Context, path string, args ...string) string {
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out)
}
