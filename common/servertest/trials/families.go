package trials

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
)

// families says for each address family whether its clients are served.
type families struct {
	four, six bool
}

// RunFamilies starts the program on all kinds of machines with all values of --bind, and checks which clients it
// serves, IPv4 or IPv6.
func RunFamilies(t *testing.T, prog *Program) {
	both, four, six := families{true, true}, families{four: true}, families{six: true}
	const v6, v4 = `http://\[::\]:PORT`, `http://0\.0\.0\.0:PORT`
	const one, other = v6 + ` with`, v4 + ` with`
	const two = v6 + ` and ` + v4 + ` with`
	for _, m := range []struct {
		kind netns.Machine
		rows []familyRow
	}{
		{netns.BothFamilies, []familyRow{
			{bind: "auto", serves: both, start: one},
			{bind: "dual", serves: both, start: one},
			{bind: "separate", serves: both, start: two},
			{bind: "4", serves: four, start: other},
			{bind: "6", serves: six, start: one},
		}},
		{netns.IPv4Only, []familyRow{ // an IPv6 socket can still be bound to [::] and accept IPv4 clients
			{bind: "auto", serves: four, start: `PORT`},
			{bind: "dual", serves: four, start: `PORT`},
			{bind: "separate", serves: four, start: v4},
			{bind: "4", serves: four, start: other},
		}},
		{netns.IPv6Only, []familyRow{
			{bind: "auto", serves: six, start: v6},
			{bind: "dual", serves: six, start: v6},
			{bind: "separate", serves: six, start: v6},
			{bind: "6", serves: six, start: one},
		}},
		{netns.V6OnlySet, []familyRow{
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
		// Only socket(2) lacks AF_INET. The kernel has IPv4, so an IPv6 socket accepts IPv4 clients.
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
			if !netns.Elsewhere(t, netns.Machine(kind)) {
				return
			}
			root, err := docroot.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if netns.Machine(kind) == netns.IPv6Only {
				goListens(t)
			}
			for _, row := range m.rows {
				t.Run(row.bind, func(t *testing.T) {
					Trial{Name: row.bind, Run: row.run}.run(t, prog, root)
				})
			}
		})
	}
	for name, run := range map[string]func(*T){
		"port in use":        portInUse,
		"chosen port in use": chosenPortInUse,
	} {
		t.Run(name, func(t *testing.T) {
			if !netns.Elsewhere(t, netns.BothFamilies) {
				return
			}
			root, err := docroot.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			Trial{Name: name, Run: run}.run(t, prog, root)
		})
	}
}

// A familyRow says what a server with a value of --bind must do.
type familyRow struct {
	bind   string
	lacks  int // if not 0, the family that socket(2) does not know
	serves families
	start  string // matches the start line; PORT stands for the port
	fatal  string // if not "", the server does not start, and its message contains this
}

func (r familyRow) run(t *T) {
	c := Config{Root: t.Root.Dir, Flags: []string{"--bind", r.bind}}
	if r.lacks != 0 {
		c.Wrap = netns.Lack(r.lacks)
	}
	if r.fatal != "" {
		status, stdout, stderr, err := t.Program.Exec(c, "-p", "0", "--bind", r.bind)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, r.fatal) {
			t.Errorf("exit status %d, want 1 and a line with %q%s%s", status, r.fatal, process.Indent(stdout), process.Indent(stderr))
		}
		return
	}
	for _, port := range []int{0, 8080} { // in this network namespace all ports are free
		c.Port = port
		s := t.Begin(c)
		t.Logf("%s", strings.ReplaceAll(s.Start, t.Root.Dir, "ROOT"))
		if want := strings.ReplaceAll(r.start, "PORT", strconv.Itoa(s.Port)); !regexp.MustCompile(want).MatchString(s.Start) {
			t.Errorf("the start line is %q, want a match of %s", s.Start, want)
		}
		if port != 0 && s.Port != port {
			t.Errorf("it listens on port %d, want %d", s.Port, port)
		}
		// Try both orders. A server that waits for IPv4 and IPv6 clients in turn serves the second client of
		// a family only after a client of the other family.
		for _, order := range [][]bool{{false, true}, {true, false}} {
			for _, ipv6 := range order {
				wanted, addr := r.serves.four, s.Addr()
				if ipv6 {
					wanted, addr = r.serves.six, s.Addr6()
				}
				conn, err := s.Dial(DialOptions{IPv6: ipv6})
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
		wantClientNames(t, s, r.serves)
		if err := s.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// wantClientNames checks that the log names IPv4 clients as 127.0.0.1 and IPv6 clients as ::1, also if an IPv6
// socket has accepted an IPv4 client.
func wantClientNames(t *T, s *Server, serves families) {
	t.Helper()
	for _, name := range []struct {
		wanted bool
		text   string
	}{{serves.four, "127.0.0.1"}, {serves.six, "::1"}} {
		if name.wanted && !s.Stdout.Await(process.Patience, func(out string) bool {
			_, log, _ := strings.Cut(out, "\n")
			return strings.Contains(log, name.text)
		}) {
			t.Errorf("no %s in the log:%s", name.text, process.Indent(s.Stdout.String()))
		}
	}
	if out := s.Stdout.String(); strings.Contains(out, "::ffff") {
		t.Errorf("the log names an IPv4 client by its mapped address:%s", process.Indent(out))
	}
}

// portInUse starts the server on a port that is in use in one family. If the server should listen in this
// family, it must not start: with the other family alone it would hide the error.
func portInUse(t *T) {
	for _, taken := range []struct{ network, addr, family string }{
		{"tcp4", "0.0.0.0:0", "4"}, {"tcp6", "[::]:0", "6"},
	} {
		l, err := net.Listen(taken.network, taken.addr)
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.OnEnd(func() { _ = l.Close() })
		port := l.Addr().(*net.TCPAddr).Port
		for _, bind := range []string{"auto", "dual", "separate", "4", "6"} {
			flags := []string{"--bind", bind}
			if (bind == "4" || bind == "6") && bind != taken.family {
				s := t.Begin(Config{Port: port, Flags: flags})
				// Begin may return before the server listens, because l listens on the port already.
				if !s.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "\n") }) {
					t.Fatalf("no start line within %v", process.Patience)
				}
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
					bind, taken.family, status, time.Since(start), port, process.Indent(stdout), process.Indent(stderr))
			}
		}
	}
}

// chosenPortInUse starts the server with port 0 and a socket for each family, while in IPv4 every fourth port
// that the kernel chooses is in use. The server must then choose again. Ten choices in a row fail
// once in a million starts.
func chosenPortInUse(t *T) {
	const low, high = 40_000, 40_063
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", low, high), 0); err != nil {
		t.Fatalf("%v", err)
	}
	for port := low + 1; port < high; port += 8 { // bind(2) chooses odd ports while any of them is free
		l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.OnEnd(func() { _ = l.Close() })
	}
	for range 16 {
		s := t.Begin(Config{Flags: []string{"--bind", "separate"}})
		for _, ipv6 := range []bool{false, true} {
			conn, err := s.Dial(DialOptions{IPv6: ipv6})
			if err != nil {
				t.Fatalf("%s: %v", s.Start, err)
			}
			_ = conn.Close()
		}
		s.Kill()
	}
}

// goListens shows why the stages do not leave the choice of the family to a library. Go's net package tries to
// bind an IPv6 socket to ::ffff:127.0.0.1. On a machine without an IPv4 loopback address this fails, so
// the package assumes that IPv6 sockets cannot accept IPv4 clients, and listens on IPv4 only. No client can
// connect.
func goListens(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Logf("Go's net.Listen(\":0\"): %v", err)
		return
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	conn, err := net.DialTimeout("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)), process.Patience)
	if err == nil {
		_ = conn.Close()
		t.Logf("Go's net.Listen(\":0\") listens on %v and accepts an IPv6 client", l.Addr())
		return
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to [::1]:%d: %v", port, err)
	}
	t.Logf("Go's net.Listen(\":0\") listens on %v, and the IPv6 client is refused: %v", l.Addr(), err)
}
