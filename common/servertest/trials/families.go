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
		{netns.IPv4Only, []familyRow{ // an IPv6 socket may still be bound to [::], and takes IPv4 clients
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
			if !netns.Elsewhere(t, netns.BothFamilies) {
				return
			}
			root, err := docroot.New(t.TempDir())
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
		c.Wrap = netns.Lack(r.lacks)
	}
	if r.fatal != "" {
		status, stdout, stderr, err := t.Program.Exec(c, "-p", "0", "--bind", r.bind)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, r.fatal) {
			t.Errorf("exit status %d, want 1 and a line about %q%s%s", status, r.fatal, process.Indent(stdout), process.Indent(stderr))
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
		named(t, s, r.serves)
		if err := s.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// named sees to it that each client has one name in the log, however it came.
func named(t *T, s *Server, serves family) {
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
		t.Errorf("an IPv4 client is not named by its address:%s", process.Indent(out))
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
		t.OnEnd(func() { _ = l.Close() })
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
					bind, taken.family, status, time.Since(start), port, process.Indent(stdout), process.Indent(stderr))
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
	conn, err := net.DialTimeout("tcp6", net.JoinHostPort("::1", strconv.Itoa(port)), process.Patience)
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
