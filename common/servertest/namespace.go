package servertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Machines that have both families, one of them, or odd defaults are made with network
// namespaces: a test binary starts itself in one, furnishes it, and runs the test there
// as if nothing were. What a namespace cannot take away, a kernel without a family, a filter
// on socket(2) does.

const (
	// netEnv tells a test binary that it is in a fresh network namespace, and how to furnish it.
	netEnv = "SERVERTEST_NET"
	// lackArg has a test binary take a family from the program that it becomes:
	// lackArg FAMILY PROGRAM ARGS…
	lackArg = "servertest-lack"
	// unable is the exit status of a test binary that cannot furnish its namespace.
	unable = 77
)

// Enter is for the beginning of a TestMain, before Main: it does what this process was started
// for by another test binary.
func Enter() {
	if len(os.Args) > 3 && os.Args[1] == lackArg {
		fmt.Fprintln(os.Stderr, become(os.Args[2], os.Args[3:]))
		os.Exit(unable)
	}
	if kind := os.Getenv(netEnv); kind != "" && os.Getenv(self) == "" {
		if err := furnish(kind); err != nil {
			fmt.Fprintf(os.Stderr, "the network namespace: %v\n", err)
			os.Exit(unable)
		}
	}
}

// become replaces this process by another program, for which socket(2) fails with EAFNOSUPPORT for
// one family. It needs no privilege: no_new_privs takes the place of one, see seccomp(2).
func become(family string, argv []string) error {
	number, err := strconv.ParseUint(family, 10, 32)
	if err != nil {
		return err
	}
	firstArg := uint32(16) // of seccomp_data: int nr; u32 arch; u64 ip; u64 args[6]
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		firstArg += 4
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	ret := func(value uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
	}
	filter := []unix.SockFilter{
		load(0),
		unless(unix.SYS_SOCKET, 3),
		load(firstArg),
		unless(uint32(number), 1),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	runtime.LockOSThread() // a filter is a thread's, and the thread that calls execve goes on
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return os.NewSyscallError("execve", syscall.Exec(argv[0], argv, os.Environ()))
}

// lack is a Config.Wrap that takes a family from the server.
func lack(family int) []string {
	me, err := os.Executable()
	if err != nil {
		return []string{"no-executable"}
	}
	return []string{me, lackArg, strconv.Itoa(family)}
}

// A machine is a kind of network.
type machine string

const (
	bothFamilies machine = "both" // as most machines are
	ipv4Only     machine = "ipv4" // IPv6 is disabled: no address, though the sockets are there
	ipv6Only     machine = "ipv6" // no IPv4 address, not even 127.0.0.1
	v6onlySet    machine = "bindv6only"
)

// furnish makes a fresh network namespace a machine of that kind. Nothing may have looked at the
// network before: Go's net package does once.
func furnish(kind string) error {
	set := func(name, value string) error {
		return os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0)
	}
	switch machine(kind) {
	case ipv4Only:
		if err := set("conf/all/disable_ipv6", "1"); err != nil {
			return err
		}
	case v6onlySet:
		if err := set("bindv6only", "1"); err != nil {
			return err
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil { // it gets its addresses by this
		return os.NewSyscallError("ioctl SIOCSIFFLAGS", err)
	}
	if machine(kind) == ipv6Only {
		if err := lo.SetInet4Addr([]byte{0, 0, 0, 0}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, lo); err != nil { // 0.0.0.0 removes the address
			return os.NewSyscallError("ioctl SIOCSIFADDR", err)
		}
	}
	return nil
}

// elsewhere runs the test that calls it once more, in this kind of network, and makes its outcome
// that of this one. There it returns true, and the test goes on.
func elsewhere(t *testing.T, kind machine) (there bool) {
	t.Helper()
	if os.Getenv(netEnv) != "" {
		return true
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	var out []byte
	var state *os.ProcessState
	// Root needs no user namespace, and may be forbidden one.
	for _, flags := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWNET | unix.CLONE_NEWUSER} {
		cmd := exec.Command(me, "-test.run", strings.Join(parts, "/"), "-test.v", "-test.timeout", "2m")
		cmd.Env = append(os.Environ(), netEnv+"="+string(kind))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&unix.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		out, err = cmd.CombinedOutput()
		state = cmd.ProcessState
		if state != nil && state.ExitCode() != unable {
			break
		}
	}
	switch {
	case state == nil:
		missing(t, "no network namespaces here: %v", err)
	case state.ExitCode() == unable:
		missing(t, "no network namespaces here: %s", out)
	case err != nil:
		t.Errorf("on a machine with %s: %v%s", kind, err, indent(string(out)))
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("on a machine with %s the test did not run:%s", kind, indent(string(out)))
	default:
		t.Logf("on a machine with %s:%s", kind, indent(string(out)))
	}
	return false
}

// A family is what can become of clients of an address family.
type family struct {
	four, six bool
}

// RunFamilies starts the program on all kinds of machines with all values of --bind, and sees whom it
// serves.
func RunFamilies(t *testing.T, prog *Program) {
	both, four, six := family{true, true}, family{four: true}, family{six: true}
	const v6, v4 = `http://\[::\]:PORT`, `http://0\.0\.0\.0:PORT`
	const one, other = v6 + ` with`, v4 + ` with`
	const two = v6 + ` and ` + v4 + ` with`
	for _, m := range []struct {
		kind machine
		rows []familyRow
	}{
		{bothFamilies, []familyRow{
			{bind: "auto", serves: both, start: one},
			{bind: "dual", serves: both, start: one},
			{bind: "separate", serves: both, start: two},
			{bind: "4", serves: four, start: other},
			{bind: "6", serves: six, start: one},
		}},
		{ipv4Only, []familyRow{ // an IPv6 socket may still be bound to [::], and takes IPv4 clients
			{bind: "auto", serves: four, start: `PORT`},
			{bind: "dual", serves: four, start: `PORT`},
			{bind: "separate", serves: four, start: v4},
			{bind: "4", serves: four, start: other},
		}},
		{ipv6Only, []familyRow{
			{bind: "auto", serves: six, start: v6},
			{bind: "dual", serves: six, start: v6},
			{bind: "separate", serves: six, start: v6},
			{bind: "6", serves: six, start: one},
		}},
		{v6onlySet, []familyRow{
			{bind: "auto", serves: both, start: one},
			{bind: "dual", serves: both, start: one},
			{bind: "separate", serves: both, start: two},
			{bind: "4", serves: four, start: other},
			{bind: "6", serves: six, start: one},
		}},
		{"both, no AF_INET6", []familyRow{
			{bind: "auto", lacks: unix.AF_INET6, serves: four, start: other + `.*IPv4 only.*address family`},
			{bind: "separate", lacks: unix.AF_INET6, serves: four, start: other + `.*IPv4 only.*address family`},
			{bind: "4", lacks: unix.AF_INET6, serves: four, start: other},
			{bind: "dual", lacks: unix.AF_INET6, fatal: "address family"},
			{bind: "6", lacks: unix.AF_INET6, fatal: "address family"},
		}},
		// The kernel of this machine has IPv4 all the same, and maps its clients.
		{"both, no AF_INET", []familyRow{
			{bind: "auto", lacks: unix.AF_INET, serves: both, start: one},
			{bind: "dual", lacks: unix.AF_INET, serves: both, start: one},
			{bind: "separate", lacks: unix.AF_INET, serves: six, start: one + `.*IPv6 only.*address family`},
			{bind: "6", lacks: unix.AF_INET, serves: six, start: one},
			{bind: "4", lacks: unix.AF_INET, fatal: "address family"},
		}},
	} {
		kind, _, _ := strings.Cut(string(m.kind), ",")
		t.Run(string(m.kind), func(t *testing.T) {
			if !elsewhere(t, machine(kind)) {
				return
			}
			root, err := NewRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if machine(kind) == ipv6Only {
				goListens(t)
			}
			for _, row := range m.rows {
				t.Run(row.bind, func(t *testing.T) {
					Trial{Name: row.bind, Run: row.run}.play(t, prog, root)
				})
			}
		})
	}
	for name, run := range map[string]func(*T){
		"port in use":        portInUse,
		"chosen port in use": chosenPortInUse,
	} {
		t.Run(name, func(t *testing.T) {
			if !elsewhere(t, bothFamilies) {
				return
			}
			root, err := NewRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			Trial{Name: name, Run: run}.play(t, prog, root)
		})
	}
}

// familyRow is what must become of a server with a value of --bind.
type familyRow struct {
	bind   string
	lacks  int // a family that socket(2) does not know
	serves family
	start  string // matches the start line; PORT stands for the port
	fatal  string // it does not start, and says this
}

func (r familyRow) run(t *T) {
	c := Config{Root: t.Root.Dir, Flags: []string{"--bind", r.bind}}
	if r.lacks != 0 {
		c.Wrap = lack(r.lacks)
	}
	if r.fatal != "" {
		status, stdout, stderr, err := t.Program.Exec(c, "-p", "0", "--bind", r.bind)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, r.fatal) {
			t.Errorf("exit status %d, want 1 and a line about %q%s%s", status, r.fatal, indent(stdout), indent(stderr))
		}
		return
	}
	for _, port := range []int{0, 8080} { // all are free here
		c.Port = port
		s := t.Begin(c)
		t.Logf("%s", strings.ReplaceAll(s.Start, t.Root.Dir, "ROOT"))
		if want := strings.ReplaceAll(r.start, "PORT", strconv.Itoa(s.Port)); !regexp.MustCompile(want).MatchString(s.Start) {
			t.Errorf("it starts with %q, want %s in it", s.Start, want)
		}
		if port != 0 && s.Port != port {
			t.Errorf("it listens on port %d, want %d", s.Port, port)
		}
		// In both orders, and the other family's clients there already: an acceptor that waits
		// for one family serves the other at its next client only.
		for _, order := range [][]bool{{false, true}, {true, false}} {
			for _, ipv6 := range order {
				wanted, addr := r.serves.four, s.Addr()
				if ipv6 {
					wanted, addr = r.serves.six, s.Addr6()
				}
				conn, err := s.dial(DialOptions{IPv6: ipv6})
				if (err == nil) != wanted {
					t.Errorf("a connection to %s: %v", addr, err)
				}
				if err != nil {
					continue
				}
				_ = conn.Close()
				t.DialTo(s, DialOptions{IPv6: ipv6}).WantKept()
			}
		}
		t.named(s, r.serves)
		if err := s.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// named sees to it that each client has one name in the log, however it came.
func (t *T) named(s *Server, serves family) {
	t.Helper()
	for _, name := range []struct {
		wanted bool
		text   string
	}{{serves.four, "127.0.0.1"}, {serves.six, "::1"}} {
		if name.wanted && !s.Stdout.Await(patience, func(out string) bool {
			_, log, _ := strings.Cut(out, "\n")
			return strings.Contains(log, name.text)
		}) {
			t.Errorf("no %s in the log:%s", name.text, indent(s.Stdout.String()))
		}
	}
	if out := s.Stdout.String(); strings.Contains(out, "::ffff") {
		t.Errorf("an IPv4 client is not named by its address:%s", indent(out))
	}
}

// portInUse has another program hold the port in one family. Unless the family is none of the
// server's, that is the end: to fall back would hide it.
func portInUse(t *T) {
	for _, taken := range []struct{ network, addr, family string }{
		{"tcp4", "0.0.0.0:0", "4"}, {"tcp6", "[::]:0", "6"},
	} {
		l, err := net.Listen(taken.network, taken.addr)
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.onEnd(func() { _ = l.Close() })
		port := l.Addr().(*net.TCPAddr).Port
		for _, bind := range []string{"auto", "dual", "separate", "4", "6"} {
			flags := []string{"--bind", bind}
			if (bind == "4" || bind == "6") && bind != taken.family {
				s := t.Begin(Config{Port: port, Flags: flags})
				t.DialTo(s, DialOptions{IPv6: bind == "6"}).WantKept()
				if err := s.Stop(); err != nil {
					t.Errorf("%v", err)
				}
				continue
			}
			start := time.Now()
			status, stdout, stderr, err := t.Program.Exec(Config{}, "-p", strconv.Itoa(port), "-R", t.Root.Dir, "--bind", bind)
			if err != nil {
				t.Fatalf("%v", err)
			}
			if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, strconv.Itoa(port)) {
				t.Errorf("--bind %s with the port taken for IPv%s: exit status %d after %v, want 1 and a line that names port %d%s%s",
					bind, taken.family, status, time.Since(start), port, indent(stdout), indent(stderr))
			}
		}
	}
}

// chosenPortInUse has another program hold, in one family, every fourth of the ports that the kernel chooses
// from. Who needs the same port in both has to try again now and then; ten tries in a row all
// fail once in a million starts.
func chosenPortInUse(t *T) {
	const low, high = 40_000, 40_063
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", low, high), 0); err != nil {
		t.Fatalf("%v", err)
	}
	for port := low + 1; port < high; port += 8 { // bind(2) chooses odd ones as long as there are any
		l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.onEnd(func() { _ = l.Close() })
	}
	for range 16 {
		s := t.Begin(Config{Flags: []string{"--bind", "separate"}})
		for _, ipv6 := range []bool{false, true} {
			conn, err := s.dial(DialOptions{IPv6: ipv6})
			if err != nil {
				t.Fatalf("%s: %v", s.Start, err)
			}
			_ = conn.Close()
		}
		s.Kill()
	}
}

// goListens shows why this package's servers do not leave the choice to a library. Go's net
// looks whether an IPv6 socket can be bound to ::ffff:127.0.0.1; where IPv4 has no loopback
// address it concludes that there are no mapped addresses, and listens on IPv4 alone:
// on a machine where no client can come by IPv4.
func goListens(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Logf("Go's net.Listen(\":0\"): %v", err)
		return
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	conn, err := net.DialTimeout("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)), patience)
	if err == nil {
		_ = conn.Close()
		t.Logf("Go's net.Listen(\":0\") listens on %v and an IPv6 client gets in", l.Addr())
		return
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to [::1]:%d: %v", port, err)
	}
	t.Logf("Go's net.Listen(\":0\") listens on %v, and the IPv6 client is refused: %v", l.Addr(), err)
}
