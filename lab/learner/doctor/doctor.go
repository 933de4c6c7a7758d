// Package doctor checks what this machine has, what it lacks, and which tests and commands it must skip.
//
// It tries each feature where it can instead of relying on a name or a version: strace may be installed but not
// permitted, and a kernel may have namespaces but refuse to create one.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// Command is `lab doctor`.
type Command struct {
	JSON bool `name:"json" help:"Print the findings as JSON."`
}

// Run examines the machine and prints the findings. It returns an error only if something essential is missing.
func (c *Command) Run(ctx context.Context) error {
	findings := examine(thisMachine(ctx))
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(findings); err != nil {
			return err
		}
	} else if err := show(os.Stdout, findings); err != nil {
		return err
	}
	return essential(findings)
}

// State is the state of a tool or a feature.
type State string

// The states. If something is Needed, nothing works without it. Limited and Missing only skip some tests or commands.
const (
	OK      State = "ok"
	Limited State = "limited"
	Missing State = "missing"
	Needed  State = "NEEDED"
)

// A Finding is one line of the table.
type Finding struct {
	What  string `json:"what"`
	State State  `json:"state"`
	Found string `json:"found"`
	Costs string `json:"costs,omitempty"` // the tests and commands that are skipped or restricted
	Help  string `json:"help,omitempty"`  // what to install or change
}

// A machine answers the questions of the checks. Tests replace its functions.
type machine struct {
	system  string
	release func() string
	look    func(name string) (string, error)    // finds a program in $PATH
	read    func(name string) string             // reads a file, trimmed; "" if it cannot be read
	try     func(argv ...string) (string, error) // runs a command and returns its output
	limit   func() (soft, hard uint64)
	listen  func(network, addr string) error
	filter  func() error // an error if seccomp(2) has no filters
}

func thisMachine(ctx context.Context) machine {
	return machine{
		system: runtime.GOOS,
		release: func() string {
			var u unix.Utsname
			if err := unix.Uname(&u); err != nil {
				return ""
			}
			return unix.ByteSliceToString(u.Release[:])
		},
		look: exec.LookPath,
		read: func(name string) string {
			b, _ := os.ReadFile(name)
			return strings.TrimSpace(string(b))
		},
		try: func(argv ...string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
			return strings.TrimSpace(string(out)), err
		},
		limit: func() (soft, hard uint64) {
			// Go raises the soft limit of this process, but restores it for a child: a shell knows the
			// original limit.
			var l unix.Rlimit
			_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
			soft = l.Cur
			if out, err := exec.Command("sh", "-c", "ulimit -Sn").Output(); err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64); err == nil {
					soft = n
				}
			}
			return soft, l.Max
		},
		listen: func(network, addr string) error {
			l, err := net.Listen(network, addr)
			if err != nil {
				return err
			}
			return l.Close()
		},
		filter: func() error {
			action := uint32(unix.SECCOMP_RET_ERRNO)
			_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, actionAt(&action))
			if errno != 0 {
				return errno
			}
			return nil
		},
	}
}

// manyFiles is how many descriptors the largest test needs: 10,000 connections, and some for everything else.
const manyFiles = 10_500

// wantBacklog is the backlog that the servers pass to listen(2).
const wantBacklog = 4096

// examine runs all checks, the essential ones first.
func examine(m machine) []Finding {
	all := []Finding{system(m), golang(m), loopback(m), ipv6(m), files(m), backlog(m), strace(m), namespaces(m), seccomp(m)}
	return append(all, tools(m)...)
}

func system(m machine) Finding {
	f := Finding{What: "Linux", State: OK, Found: strings.TrimSpace(m.system + " " + m.release())}
	var major, minor int
	n, _ := fmt.Sscanf(m.release(), "%d.%d", &major, &minor)
	switch {
	case m.system != "linux":
		f.State, f.Costs, f.Help = Needed, "everything: the servers use Linux system calls", "use Linux, on a machine or a virtual machine"
	case n == 2 && (major < 5 || major == 5 && minor < 6):
		f.State, f.Costs, f.Help = Limited, "without openat2(2), os.Root needs more system calls to keep links inside the root", "install Linux 5.6 or later"
	}
	return f
}

func golang(m machine) Finding {
	f := Finding{What: "Go", State: OK}
	if _, err := m.look("go"); err != nil {
		f.State, f.Found, f.Costs, f.Help = Needed, "no go in $PATH", "make build, make test; programs that are already built run", "install Go 1.26 or later from go.dev/dl, and add its bin folder to $PATH"
		return f
	}
	out, err := m.try("go", "env", "GOVERSION")
	f.Found = out
	var major, minor int
	if n, _ := fmt.Sscanf(out, "go%d.%d", &major, &minor); err != nil || n == 2 && (major < 1 || major == 1 && minor < 26) {
		f.State, f.Costs, f.Help = Limited, "go.mod requires Go 1.26, which an older Go must download first", "install Go 1.26 or later from go.dev/dl"
	}
	return f
}

func loopback(m machine) Finding {
	f := Finding{What: "IPv4 on loopback", State: OK, Found: "127.0.0.1"}
	if err := m.listen("tcp4", "127.0.0.1:0"); err != nil {
		f.State, f.Found, f.Costs, f.Help = Needed, why(err), "every test: clients connect to 127.0.0.1", "ip link set lo up"
	}
	return f
}

func ipv6(m machine) Finding {
	f := Finding{What: "IPv6 on loopback", State: OK, Found: "::1"}
	if err := m.listen("tcp6", "[::1]:0"); err != nil {
		f.State, f.Found = Missing, why(err)
		f.Costs = "conn-ipv6, cli-bind-*: stages 3 and 4 serve only IPv4 here"
		f.Help = "sysctl net.ipv6.conf.lo.disable_ipv6=0; in a container, use a network with IPv6"
	}
	return f
}

func files(m machine) Finding {
	soft, hard := m.limit()
	f := Finding{What: "descriptor limit", State: OK, Found: fmt.Sprintf("soft %s, hard %s", number(soft), number(hard))}
	if hard < manyFiles {
		f.State = Limited
		f.Costs = fmt.Sprintf("idle-10000 needs %d descriptors; other tests need 1500", manyFiles)
		f.Help = "raise the hard limit: nofile in /etc/security/limits.conf, or LimitNOFILE= in the service file"
	}
	return f
}

func number(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func backlog(m machine) Finding {
	f := Finding{What: "listen backlog", State: OK, Found: "somaxconn " + m.read("/proc/sys/net/core/somaxconn")}
	n, err := strconv.Atoi(strings.TrimPrefix(f.Found, "somaxconn "))
	switch {
	case err != nil:
		f.State, f.Found, f.Costs = Limited, "unknown", "cli-backlog cannot check the backlog that the kernel really uses"
	case n < wantBacklog:
		f.State = Limited
		f.Costs = fmt.Sprintf("the kernel reduces the backlog from %d to %d: in a burst, some clients must repeat their SYN", wantBacklog, n)
		f.Help = fmt.Sprintf("sysctl net.core.somaxconn=%d", wantBacklog)
	}
	return f
}

func strace(m machine) Finding {
	f := Finding{What: "strace", State: OK, Costs: "pitfalls that count system calls or stop a thread; lab/support/wrappers/strace-wrapper"}
	path, err := m.look("strace")
	if err != nil {
		f.State, f.Found, f.Help = Missing, "not installed", "apt-get install strace"
		return f
	}
	f.Found = path + ", ptrace permitted"
	if out, err := m.try("strace", "-D", "-qq", "-o", os.DevNull, "true"); err != nil {
		f.State, f.Found = Limited, path+", but it is not permitted to trace: "+firstLine(out, err)
		f.Costs = "pitfalls that count system calls or stop a thread; lab/support/wrappers/strace-wrapper, lab/support/wrappers/dlv-wrapper"
		f.Help = "in a container: --cap-add SYS_PTRACE"
		if scope := m.read("/proc/sys/kernel/yama/ptrace_scope"); scope != "" && scope != "0" {
			f.Help = "sysctl kernel.yama.ptrace_scope=0 (now " + scope + ")"
		}
		return f
	}
	f.Costs = ""
	return f
}

// namespaces tries both ways that the tests use: as root, and unprivileged with a user namespace.
func namespaces(m machine) Finding {
	f := Finding{What: "network namespaces", State: OK, Costs: "TestFamilies: machines with only one address family"}
	if _, err := m.look("unshare"); err != nil {
		f.State, f.Found, f.Help = Limited, "unknown without unshare(1); the tests find out by themselves", "apt-get install util-linux"
		return f
	}
	outRoot, errRoot := m.try("unshare", "--net", "true")
	outUser, errUser := m.try("unshare", "--user", "--map-root-user", "--net", "true")
	switch {
	case errRoot == nil && errUser == nil:
		f.Found = "yes, unprivileged too"
	case errUser == nil:
		f.Found = "yes, unprivileged"
	case errRoot == nil:
		f.Found = "yes, as root; not unprivileged: " + firstLine(outUser, errUser)
	default:
		f.State, f.Found = Missing, firstLine(outRoot, errRoot)
		f.Help = "run as root; or sysctl kernel.unprivileged_userns_clone=1 (Debian), user.max_user_namespaces=10000; in a container: --cap-add SYS_ADMIN"
		return f
	}
	f.Costs = ""
	return f
}

func seccomp(m machine) Finding {
	f := Finding{What: "seccomp filters", State: OK, Found: "yes"}
	if err := m.filter(); err != nil {
		f.State, f.Found = Missing, why(err)
		f.Costs, f.Help = "TestFamilies: a kernel without an address family", "use a kernel with CONFIG_SECCOMP_FILTER"
	}
	return f
}

// tools checks for programs that only have to be installed.
func tools(m machine) []Finding {
	var all []Finding
	for _, tool := range []struct {
		what, costs, help string
		names             []string
	}{
		{"a C compiler", "make race, make check (the race detector needs one)", "apt-get install gcc libc6-dev", []string{"gcc", "cc", "clang"}},
		{"curl", "the examples in the documentation", "apt-get install curl", []string{"curl"}},
		{"wrk", "throughput measurements", "apt-get install wrk", []string{"wrk"}},
		{"nginx", "the comparison with nginx", "apt-get install nginx-light", []string{"nginx", "/usr/sbin/nginx"}},
		{"Chromium", "the tests in lab/support/browser", "apt-get install chromium", []string{"chromium", "chromium-browser", "google-chrome"}},
		{"redis-server", "the cases notes-redis-real and tier-real; --notes", "apt-get install redis-server", []string{"redis-server", "valkey-server"}},
		{"python3", "the test of `lab grade` with a first server in Python", "apt-get install python3", []string{"python3"}},
		{"dlv", "lab/support/wrappers/dlv-wrapper", "go install github.com/go-delve/delve/cmd/dlv@latest", []string{"dlv"}},
		{"tmux", "more than one terminal on a remote machine", "apt-get install tmux", []string{"tmux"}},
	} {
		f := Finding{What: tool.what, State: Missing, Found: "not installed", Costs: tool.costs, Help: tool.help}
		for _, name := range tool.names {
			if path, err := m.look(name); err == nil {
				f = Finding{What: tool.what, State: OK, Found: path}
				break
			}
		}
		all = append(all, f)
	}
	return all
}

// firstLine returns the first line of a program's output, or the error if there is no output.
func firstLine(out string, err error) string {
	line, _, _ := strings.Cut(out, "\n")
	if line == "" {
		return why(err)
	}
	return line
}

// why returns the kernel's message for the errno in an error, or the whole error if it has none.
func why(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// show prints the table, then what each missing thing costs and how to get it.
func show(out io.Writer, findings []Finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tSTATE\tFOUND")
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.What, f.State, f.Found)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	complete := true
	for _, f := range findings {
		if f.State == OK {
			continue
		}
		if complete {
			fmt.Fprintln(out)
		}
		complete = false
		fmt.Fprintf(out, "%s (%s)\n  costs: %s\n", f.What, f.State, f.Costs)
		if f.Help != "" {
			fmt.Fprintf(out, "  fix:   %s\n", f.Help)
		}
	}
	if complete {
		fmt.Fprintln(out, "\nNothing is missing: no test is skipped on this machine.")
		return nil
	}
	fmt.Fprintln(out, "\nTests that need something missing are skipped, and their output says why. With CI=true they fail instead.")
	return nil
}

// essential returns an error that names the essential things that are missing.
func essential(findings []Finding) error {
	var needed []string
	for _, f := range findings {
		if f.State == Needed {
			needed = append(needed, f.What)
		}
	}
	if len(needed) > 0 {
		return fmt.Errorf("nothing works without: %s", strings.Join(needed, ", "))
	}
	return nil
}
