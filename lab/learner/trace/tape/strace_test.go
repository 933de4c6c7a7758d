package tape

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lines has every form of a line that strace prints of a server in Go.
const lines = `7  100.000001 ppoll([{fd=13<TCPv6:[[::]:43089]>, events=POLLIN}], 1, NULL, NULL, 0 <unfinished ...>
8  100.000002 recvfrom(17<TCPv6:[[::ffff:127.0.0.1]:43089->[::ffff:127.0.0.1]:53790]>, "a) = 7", 16384, MSG_DONTWAIT, NULL, NULL) = 6 <0.000066>
8  100.000100 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=4678, si_uid=0} ---
7  100.000200 <... ppoll resumed>) = 1 ([{fd=13, revents=POLLIN}]) <0.000190>
9  100.000210 <... futex resumed>) = 0 <0.000190>
8  100.000220 getpid()        = 4678 <0.000007>
8  100.000300 ppoll([{fd=12}], 1, NULL, NULL, 0) = ? ERESTARTNOHAND (To be restarted if no handler) <0.000517>
7  100.000310 epoll_pwait(13<anon_inode:[eventpoll]>,  <unfinished ...>
7  100.000400 close(3</srv/a file>) = -1 EBADF (Bad file descriptor) <0.000010>
8  100.000500 accept4(12<TCP:[0.0.0.0:80]>,  <unfinished ...>
7  100.000600 +++ exited with 0 +++
nonsense
`

func TestCalls(t *testing.T) {
	at := func(us int) time.Duration { return 100*time.Second + time.Duration(us)*time.Microsecond }
	var got []string
	for _, c := range Calls(lines) {
		got = append(got, fmt.Sprintf("%d %s(%s) = %s, %v to %v, signal %t, open %t", c.Thread, c.Name, c.Args, c.Result, c.From-at(0), c.To-at(0), c.Signal, c.Open))
	}
	want := []string{
		`7 ppoll([{fd=13<TCPv6:[[::]:43089]>, events=POLLIN}], 1, NULL, NULL, 0) = 1 ([{fd=13, revents=POLLIN}]), 1µs to 191µs, signal false, open false`,
		`8 recvfrom(17<TCPv6:[[::ffff:127.0.0.1]:43089->[::ffff:127.0.0.1]:53790]>, "a) = 7", 16384, MSG_DONTWAIT, NULL, NULL) = 6, 2µs to 68µs, signal false, open false`,
		`8 SIGURG() = , 100µs to 100µs, signal true, open false`,
		`8 getpid() = 4678, 220µs to 227µs, signal false, open false`,
		`8 ppoll([{fd=12}], 1, NULL, NULL, 0) = ? ERESTARTNOHAND (To be restarted if no handler), 300µs to 817µs, signal false, open false`,
		`7 close(3</srv/a file>) = -1 EBADF (Bad file descriptor), 400µs to 410µs, signal false, open false`,
		`8 accept4(12<TCP:[0.0.0.0:80]>, ) = , 500µs to 600µs, signal false, open true`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestObjects(t *testing.T) {
	for _, tt := range []struct {
		args                string
		fd, peer, local     int
		listens, tcp, found bool
	}{
		{"13<TCP:[127.0.0.1:46015->127.0.0.1:52410]>, …", 13, 52410, 46015, false, true, true},
		{"13<TCPv6:[[::ffff:127.0.0.1]:43089->[::ffff:127.0.0.1]:53790]>", 13, 53790, 43089, false, true, true},
		{"12<TCPv6:[[::]:43089]>, …", 12, 0, 43089, true, true, true},
		{"16<TCPv6:[4341644]>, FIONREAD", 16, 0, 0, false, true, true}, // after a reset
		{"[{fd=13<anon_inode:[eventpoll]>}]", 13, 0, 0, false, false, true},
		{"5</srv/a file>, …", 5, 0, 0, false, false, true},
		{"-1, 7", 0, 0, 0, false, false, false},
	} {
		os := Objects(tt.args)
		if len(os) > 0 != tt.found {
			t.Errorf("%s: found %v, want %t", tt.args, os, tt.found)
		}
		for _, o := range os {
			if o.FD != tt.fd || o.Peer() != tt.peer || o.Local() != tt.local || o.Listens() != tt.listens || o.TCP() != tt.tcp {
				t.Errorf("%s: got %+v, peer %d, local %d, listens %t, TCP %t", tt.args, o, o.Peer(), o.Local(), o.Listens(), o.TCP())
			}
		}
	}
}

// TestTrim checks that a call that began before the time is kept, and one that had returned is not.
func TestTrim(t *testing.T) {
	at := func(us int) time.Duration { return 100*time.Second + time.Duration(us)*time.Microsecond }
	got := Trim(lines, at(150), at(305), 100, regexp.MustCompile("SIGURG"))
	want := []string{"100.000100 --- SIGURG", "100.000001 ppoll", "100.000200 <... ppoll", "100.000210", "100.000220 getpid", "100.000300 ppoll"}
	rest := strings.Split(strings.TrimSpace(got), "\n")
	if len(rest) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(rest), len(want), got)
	}
	for i, line := range rest {
		if !strings.Contains(line, want[i]) {
			t.Errorf("line %d is %q, want %q in it", i, line, want[i])
		}
	}
	if got := Trim(lines, at(150), at(305), 2, regexp.MustCompile("SIGURG")); strings.Count(got, "\n") != 4 {
		t.Errorf("at most 2 lines after the beginning: got\n%s", got)
	}
}

func TestReadBack(t *testing.T) {
	want := &Tape{
		Title: "a title", Notes: []string{"a note", "another one"}, Port: 80, Clients: map[int]string{5000: "A", 5001: "B"},
		Steps: []Step{
			{From: 1795693726642283 * time.Microsecond, To: 1795693726642284 * time.Microsecond, Client: "A", Did: "sends", Saw: "200 OK"},
			{From: 1795693726642285 * time.Microsecond, To: 1795693726642285 * time.Microsecond, Did: "the loop runs on"},
		},
		End: 1795693726999999 * time.Microsecond, Strace: lines,
	}
	got, err := Read(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", lines, "# port x\n", "# step 1 2 a|b|c\n", "# step 1.000000 2.000000 a\n", "# what\n"} {
		if _, err := Read(bad); err == nil {
			t.Errorf("Read(%q) returns no error", bad)
		}
	}
}
