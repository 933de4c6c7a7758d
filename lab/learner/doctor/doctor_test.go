package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// good returns a machine that lacks nothing.
func good() machine {
	return machine{
		system:  "linux",
		release: func() string { return "6.1.0-13-amd64" },
		look:    func(name string) (string, error) { return "/usr/bin/" + name, nil },
		read: func(name string) string {
			if strings.HasSuffix(name, "somaxconn") {
				return "4096"
			}
			return ""
		},
		try: func(argv ...string) (string, error) {
			if argv[0] == "go" {
				return "go1.26.1", nil
			}
			return "", nil
		},
		limit:  func() (soft, hard uint64) { return 1024, 1 << 20 },
		listen: func(string, string) error { return nil },
		filter: func() error { return nil },
	}
}

// TestGoodMachine checks that the report says that nothing is missing.
func TestGoodMachine(t *testing.T) {
	findings := examine(good())
	for _, f := range findings {
		if f.State != OK || f.Costs != "" || f.Help != "" {
			t.Errorf("%+v", f)
		}
	}
	var out strings.Builder
	if err := show(&out, findings); err != nil || !strings.Contains(out.String(), "Nothing is missing") {
		t.Errorf("%v:\n%s", err, out.String())
	}
	if err := essential(findings); err != nil {
		t.Error(err)
	}
}

// TestLacks removes one thing at a time. Only the finding about it changes, the report says what to do, and only a
// missing essential thing is an error.
func TestLacks(t *testing.T) {
	without := func(names ...string) func(m *machine) {
		return func(m *machine) {
			m.look = func(name string) (string, error) {
				if slices.Contains(names, name) {
					return "", errors.New("not found")
				}
				return "/usr/bin/" + name, nil
			}
		}
	}
	failing := func(said string, names ...string) func(m *machine) {
		return func(m *machine) {
			old := m.try
			m.try = func(argv ...string) (string, error) {
				if slices.Contains(names, argv[0]) {
					return said, errors.New("exit status 1")
				}
				return old(argv...)
			}
		}
	}
	for _, tt := range []struct {
		name, what string
		change     func(m *machine)
		state      State
		says       string // must be in the report
	}{
		{"another system", "Linux", func(m *machine) { m.system = "darwin" }, Needed, "Linux system calls"},
		{"an old kernel", "Linux", func(m *machine) { m.release = func() string { return "5.4.0" } }, Limited, "5.6"},
		{"no Go", "Go", without("go"), Needed, "go.dev/dl"},
		{"an old Go", "Go", func(m *machine) {
			m.try = func(argv ...string) (string, error) { return "go1.22.3", nil }
		}, Limited, "go1.22.3"},
		{"no loopback", "IPv4 on loopback", func(m *machine) {
			m.listen = func(network, _ string) error {
				if network == "tcp4" {
					return syscall.EADDRNOTAVAIL
				}
				return nil
			}
		}, Needed, "ip link set lo up"},
		{"no IPv6", "IPv6 on loopback", func(m *machine) {
			m.listen = func(network, _ string) error {
				if network == "tcp6" {
					return syscall.EADDRNOTAVAIL
				}
				return nil
			}
		}, Missing, "cannot assign requested address"},
		{"few descriptors", "descriptor limit", func(m *machine) {
			m.limit = func() (soft, hard uint64) { return 1024, 4096 }
		}, Limited, "soft 1024, hard 4096"},
		{"a short backlog", "listen backlog", func(m *machine) { m.read = func(string) string { return "128" } }, Limited, "net.core.somaxconn=4096"},
		{"no /proc/sys", "listen backlog", func(m *machine) { m.read = func(string) string { return "" } }, Limited, "cli-backlog"},
		{"no strace", "strace", without("strace"), Missing, "apt-get install strace"},
		{"no ptrace", "strace", failing("strace: ptrace(PTRACE_TRACEME): Operation not permitted", "strace"), Limited, "SYS_PTRACE"},
		{"no namespaces", "network namespaces", failing("unshare failed: Operation not permitted", "unshare"), Missing, "TestFamilies"},
		{"no seccomp", "seccomp filters", func(m *machine) { m.filter = func() error { return syscall.ENOSYS } }, Missing, "function not implemented"},
		{"no browser", "Chromium", without("chromium", "chromium-browser", "google-chrome"), Missing, "lab/support/browser"},
		{"no wrk", "wrk", without("wrk"), Missing, "apt-get install wrk"},
		{"no Redis", "redis-server", without("redis-server", "valkey-server"), Missing, "apt-get install redis-server"},
		{"no compiler", "a C compiler", without("gcc", "cc", "clang"), Missing, "make race"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := good()
			tt.change(&m)
			findings := examine(m)
			for _, f := range findings {
				if f.What != tt.what {
					if f.State != OK {
						t.Errorf("%s: %+v", tt.name, f)
					}
					continue
				}
				if f.State != tt.state || f.Costs == "" {
					t.Errorf("%+v, want %s", f, tt.state)
				}
			}
			var out strings.Builder
			if err := show(&out, findings); err != nil || !strings.Contains(out.String(), tt.says) {
				t.Errorf("no %q in (%v):\n%s", tt.says, err, out.String())
			}
			if err := essential(findings); (err != nil) != (tt.state == Needed) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestRootNamespaces has a machine where only root may create namespaces.
func TestRootNamespaces(t *testing.T) {
	m := good()
	m.try = func(argv ...string) (string, error) {
		if slices.Contains(argv, "--user") {
			return "unshare failed: Operation not permitted", errors.New("exit status 1")
		}
		return "go1.26", nil
	}
	if f := namespaces(m); f.State != OK || !strings.Contains(f.Found, "as root") {
		t.Errorf("%+v", f)
	}
}

// TestThisMachine examines the machine that runs the tests. It must have everything essential.
func TestThisMachine(t *testing.T) {
	findings := examine(thisMachine(context.Background()))
	if err := essential(findings); err != nil {
		t.Error(err)
	}
	for _, f := range findings {
		if f.Found == "" || f.State != OK && f.Costs == "" {
			t.Errorf("incomplete finding: %+v", f)
		}
	}
}
