package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/accesslog"
	"fourways.example/common/site"
	"fourways.example/common/sock"
)

func listen(t *testing.T, family int, addr string) *sock.Listener {
	t.Helper()
	l, err := sock.Socket(family)
	if err != nil {
		t.Skipf("this machine does not have the family of %s: %v", addr, err)
	}
	t.Cleanup(func() { l.Close() })
	if family == unix.AF_INET6 {
		err = l.V6Only(true)
	}
	if err == nil {
		err = l.Bind(netip.MustParseAddrPort(addr))
	}
	if err == nil {
		err = l.Listen(1)
	}
	if err != nil {
		t.Skipf("cannot listen on %s: %v", addr, err)
	}
	return l
}

// config calls New. After flush, stdout and stderr contain everything that was printed.
func config(t *testing.T, stage Stage, env map[string]string, args ...string) (c *Config, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	c, err := New(stage, args, func(name string) string { return env[name] }, stdout, stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		flush(c)
		c.Stop.Begin()
		unix.Close(c.Stop.read)
		_ = c.site.Close()
	})
	return c, stdout, stderr
}

// flush waits until all lines are written. Lines that are added later are dropped.
func flush(c *Config) { accesslog.Close(10*time.Second, c.stdout, c.stderr) }

func TestNew(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, _, _ := config(t, stage4, nil, "-p", "0", "-n", "3", "--bind=6", "--max-conns", "7",
		"--idle-timeout=1s", "--header-timeout=2s", "--body-timeout=3s", "--write-timeout=4s")
	if c.Stage != stage4 || c.Port != 0 || c.Workers != 3 || c.Bind != "6" {
		t.Errorf("%+v", c)
	}
	if got, err := filepath.EvalSymlinks(c.Root); err != nil || !filepath.IsAbs(c.Root) || got != mustEval(t, dir) {
		t.Errorf("root %q", c.Root)
	}
	h := c.HTTP
	if h.IdleTimeout != 1*time.Second || h.HeaderTimeout != 2*time.Second ||
		h.BodyTimeout != 3*time.Second || h.WriteTimeout != 4*time.Second {
		t.Errorf("time-outs: %+v", h)
	}
	if h.Handler == nil || h.Log == nil || h.Stop != c.Stop {
		t.Error("handler, log or stop is missing")
	}
	if n := cap(c.Conns.open); n != 7 {
		t.Errorf("%d slots", n)
	}
}

func mustEval(t *testing.T, dir string) string {
	t.Helper()
	got, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestContent(t *testing.T) {
	o := options{fallback: true, expire: time.Minute}
	env := map[string]string{"USER_NAME": "a", "USER_PASS": "b", "SECRET": "c"}
	getenv := func(name string) string { return env[name] }
	want := site.Config{
		Root: "/srv", Fallback: true, TokenLife: time.Minute, User: "a", Pass: "b", Secret: []byte("c"),
		Stage: "stage3-dualstack", Version: version(),
	}
	if got := content(stage3, o, "/srv", getenv); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"USER_NAME", "USER_PASS"} {
		was := env[name]
		env[name] = ""
		if got := content(stage3, o, "/srv", getenv); got.User != "" || got.Pass != "" {
			t.Errorf("without %s, the account is %q, %q", name, got.User, got.Pass)
		}
		env[name] = was
	}
}

func TestVersionOf(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123abcd"}}
	for _, tt := range []struct {
		module   string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", revision, "v1.2.3"},
		{"(devel)", revision, "0123abcd"},
		{"", revision, "0123abcd"},
		{"(devel)", revision[:1], "devel"},
		{"", nil, "devel"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings}
		if got := versionOf(info); got != tt.want {
			t.Errorf("%q, %v: %q, want %q", tt.module, tt.settings, got, tt.want)
		}
	}
}

func TestRandomSecret(t *testing.T) {
	a, b := randomSecret(), randomSecret()
	if len(a) != 32 || bytes.Equal(a, b) || bytes.Equal(a, make([]byte, 32)) {
		t.Errorf("%x, %x", a, b)
	}
}

func TestBadRoot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]string{
		file:              "not a folder",
		dir + "/nosuch":   "no such file or directory",
		dir + "/a\nb":     "no such file or directory",
		file + "/beneath": "not a directory",
		"":                "no such file or directory",
	} {
		_, err := New(stage1, []string{"-R", root}, func(string) string { return "" }, nil, nil)
		want := fmt.Sprintf("root %q: %s; choose the folder to serve with -R", root, want)
		if err == nil || err.Error() != want || status(err) != 1 {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := New(stage1, []string{"-x"}, os.Getenv, nil, nil); status(err) != 2 {
		t.Errorf("a bad flag: status %d", status(err))
	}
}

// TestUnreadableRoot checks that a folder that this user cannot read or enter is refused.
// Root can read every folder, so the case start-unreadable-root tests a server that has
// given up this right.
func TestUnreadableRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read every folder")
	}
	above := t.TempDir()
	dir := filepath.Join(above, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = os.Chmod(above, 0o700), os.Chmod(dir, 0o700) })
	want := fmt.Sprintf("root %q: permission denied; give this user read and execute permission, or choose another folder with -R", dir)
	for _, tt := range []struct {
		folder string
		mode   os.FileMode
	}{{dir, 0}, {dir, 0o600}, {dir, 0o300}, {above, 0o600}} {
		if err := os.Chmod(tt.folder, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := New(stage1, []string{"-R", dir}, func(string) string { return "" }, nil, nil); err == nil || err.Error() != want || status(err) != 1 {
			t.Errorf("mode %04o of %s: got %v\nwant %s", tt.mode, tt.folder, err, want)
		}
		_ = os.Chmod(tt.folder, 0o700)
	}
}

// TestStarted checks that the start is one line, and two if SECRET is missing.
func TestStarted(t *testing.T) {
	dir := t.TempDir()
	four, six := listen(t, unix.AF_INET, "0.0.0.0:0"), listen(t, unix.AF_INET6, "[::]:0")
	loopback := listen(t, unix.AF_INET, "127.0.0.1:0")
	port4, port6 := four.Addr().Port(), six.Addr().Port()
	open := fmt.Sprintf("; open http://127.0.0.1:%d/", port4)
	account := map[string]string{"USER_NAME": "a", "USER_PASS": "b", "SECRET": "c"}
	for _, tt := range []struct {
		name      string
		stage     Stage
		args      []string
		env       map[string]string
		listeners []*sock.Listener
		note      string
		want      string // after the root
	}{
		{
			name: "account", stage: stage1, env: account, listeners: []*sock.Listener{four},
			want: fmt.Sprintf("http://0.0.0.0:%d with 1 worker%s\n", port4, open),
		},
		{
			name: "no account", stage: stage2, listeners: []*sock.Listener{four},
			want: fmt.Sprintf("http://0.0.0.0:%d with 64 workers%s; login is off: set USER_NAME and USER_PASS\n", port4, open),
		},
		{
			name: "name without password", stage: stage1, env: map[string]string{"USER_NAME": "a", "SECRET": "c"}, listeners: []*sock.Listener{four},
			want: fmt.Sprintf("http://0.0.0.0:%d with 1 worker%s; login is off: set USER_NAME and USER_PASS\n", port4, open),
		},
		{
			name: "two sockets and a note", stage: stage3, env: account, listeners: []*sock.Listener{six, four}, note: "one for each family",
			want: fmt.Sprintf("http://[::]:%d and http://0.0.0.0:%d with 64 workers%s; one for each family\n", port6, port4, open),
		},
		{
			name: "both families on one socket", stage: stage3, env: account, listeners: []*sock.Listener{six},
			want: fmt.Sprintf("http://[::]:%d with 64 workers; open http://localhost:%d/\n", port6, port6),
		},
		{
			name: "IPv6 only", stage: stage3, args: []string{"--bind=6"}, env: account, listeners: []*sock.Listener{six},
			want: fmt.Sprintf("http://[::]:%d with 64 workers; open http://[::1]:%d/\n", port6, port6),
		},
		{
			name: "notes in Redis", stage: stage1, args: []string{"--notes", "redis://[::1]:6379"}, env: account, listeners: []*sock.Listener{four},
			want: fmt.Sprintf("http://0.0.0.0:%d with 1 worker%s\n", port4, open),
		},
		{
			name: "one address", stage: stage1, env: account, listeners: []*sock.Listener{loopback},
			want: fmt.Sprintf("http://%v with 1 worker; open http://%v/\n", loopback.Addr(), loopback.Addr()),
		},
		{
			name: "no secret", stage: stage1, env: map[string]string{"USER_NAME": "a", "USER_PASS": "b"}, listeners: []*sock.Listener{four},
			want: fmt.Sprintf("http://0.0.0.0:%d with 1 worker%s\n"+
				"stage1-iterative: SECRET is not set: a random key signs the tokens, which are valid until the server stops\n", port4, open),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, stdout, stderr := config(t, tt.stage, tt.env, append(tt.args, "-R", dir)...)
			if tt.note != "" {
				c.Note("%s", tt.note)
			}
			c.Started(tt.listeners)
			flush(c)
			want := tt.stage.Name + ": serving " + dir + " on " + tt.want
			if got := strings.Replace(stdout.String(), "; notes are kept in memory", "", 1); got != want {
				t.Errorf("got  %swant %s", got, want)
			}
			if got, memory := stdout.String(), len(tt.args) == 0 || tt.args[0] != "--notes"; strings.Contains(got, "kept in memory") != memory {
				t.Errorf("got %s, want that notes are in memory: %v", got, memory)
			}
			if stderr.Len() > 0 {
				t.Errorf("on stderr: %s", stderr)
			}
		})
	}
}

func TestStartLineIsOneLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a\nb\x1b[31m ü")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, stdout, _ := config(t, stage1, nil, "-R", dir)
	c.Started([]*sock.Listener{listen(t, unix.AF_INET, "127.0.0.1:0")})
	flush(c)
	if got := stdout.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "/a?b?[31m ü on http://") {
		t.Errorf("got %q", got)
	}
}

func TestWarn(t *testing.T) {
	c, stdout, stderr := config(t, stage1, nil)
	c.Warn("cannot accept: %v", errors.New("too many\nopen files"))
	flush(c)
	if got, want := stderr.String(), "stage1-iterative: cannot accept: too many?open files\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if stdout.Len() > 0 {
		t.Errorf("on stdout: %s", stdout)
	}
}

func TestExplain(t *testing.T) {
	for errno, want := range map[error]string{
		unix.EADDRINUSE: "choose another port with -p, or find the program that uses this one with ss -ltnp",
		unix.EACCES:     "only root may use ports below 1024; choose another port with -p",
		unix.EMFILE:     "raise the limit on descriptors with ulimit -n",
		unix.ENOMEM:     unix.ENOMEM.Error(),
	} {
		err := explain(fmt.Errorf("listen on 0.0.0.0:80: %w", os.NewSyscallError("bind", errno)))
		if s := err.Error(); !strings.HasPrefix(s, "listen on 0.0.0.0:80: bind: "+errno.Error()) || !strings.HasSuffix(s, want) {
			t.Errorf("%v: %q", errno, s)
		}
	}
}

func TestMaxConns(t *testing.T) {
	for _, tt := range []struct {
		limit     uint64
		loopFiles int
		want      int
	}{
		{1024, 0, 704},
		{1024, 2, 702},
		{1024, 2 * 128, 448},
		{1 << 20, 8, 1<<20 - 328},
		{1<<64 - 1, 0, 1<<30 - 320}, // RLIM_INFINITY
		{428, 0, 108},
		{427, 0, 107},
		{426, 0, 106}, // below this limit, a quarter is more
		{400, 0, 100},
		{400, 40, 90},
		{321, 0, 80},
		{320, 0, 80},
		{64, 0, 16},
		{64, 128, 1}, // the loops alone need more
		{0, 0, 1},
	} {
		if got := maxConns(tt.limit, tt.loopFiles); got != tt.want {
			t.Errorf("limit %d, %d for loops: %d connections, want %d", tt.limit, tt.loopFiles, got, tt.want)
		}
	}
}

// TestMaxConnsOfAStage checks that connections do not use the descriptors of the event loops:
// 128 loops need 256.
func TestMaxConnsOfAStage(t *testing.T) {
	all := maxConns(descriptors(), 0)
	for _, tt := range []struct {
		stage Stage
		args  []string
		want  int
	}{
		{stage1, nil, all},
		{stage2, []string{"-n", "128"}, all},
		{stage4, []string{"-n", "128"}, maxConns(descriptors(), 256)},
		{stage4, []string{"-n", "1"}, maxConns(descriptors(), 2)},
		{stage4, []string{"-n", "128", "--max-conns", "5000"}, 5000},
		{stage1, []string{"--notes", "redis://localhost:1"}, maxConns(descriptors(), 1)},
		{stage2, []string{"-n", "128", "--notes", "redis://localhost:1"}, maxConns(descriptors(), 128)},
		{stage4, []string{"-n", "4", "--notes", "redis://localhost:1"}, maxConns(descriptors(), 40)},
	} {
		if c, _, _ := config(t, tt.stage, nil, tt.args...); cap(c.Conns.open) != tt.want {
			t.Errorf("%s %q: %d connections, want %d", tt.stage.Name, tt.args, cap(c.Conns.open), tt.want)
		}
	}
}

func readable(t *testing.T, fd int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents != 0
}

func TestStop(t *testing.T) {
	s, err := NewStop()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s.FD())
	l := listen(t, unix.AF_INET, "127.0.0.1:0")
	woken := make(chan error)
	go func() {
		_, err := l.Accept(0)
		woken <- err
		if !s.Stopping() {
			t.Error("the acceptor woke up before the stop")
		}
	}()
	if s.Stopping() || readable(t, s.FD()) {
		t.Fatal("the stop began too early")
	}
	select {
	case <-s.Done():
		t.Fatal("Done was closed too early")
	case <-time.After(20 * time.Millisecond):
	}
	s.Begin(l)
	s.Begin(l)
	if !s.Stopping() || !readable(t, s.FD()) {
		t.Error("the stop did not begin")
	}
	<-s.Done()
	if err := <-woken; sock.ClassifyAcceptError(err) != sock.ListenerClosed {
		t.Errorf("accept returned %v", err)
	}
}

// TestListenerClosed checks that a listener that was shut down is an error, except during a
// stop.
func TestListenerClosed(t *testing.T) {
	for _, stopping := range []bool{true, false} {
		s, err := NewStop()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s.FD())
		l, other := listen(t, unix.AF_INET, "127.0.0.1:0"), listen(t, unix.AF_INET, "127.0.0.1:0")
		if stopping {
			s.Begin(l)
		} else if err := l.Shutdown(); err != nil {
			t.Fatal(err)
		}
		_, cause := l.Accept(0)
		s.ListenerClosed(l, cause)
		s.ListenerClosed(other, cause)
		if stopping {
			if s.Err() != nil {
				t.Errorf("stopping: %v", s.Err())
			}
			continue
		}
		want := "listen on " + l.Addr().String() + ": accept4: invalid argument: another program has shut this socket down; start the server again"
		if s.Err() == nil || s.Err().Error() != want {
			t.Errorf("the error is %v, want %s", s.Err(), want)
		}
		go s.OnSignal([]*sock.Listener{l, other}) // after Begin, it waits until the grace is over
		if _, err := other.Accept(0); sock.ClassifyAcceptError(err) != sock.ListenerClosed {
			t.Errorf("the other listener: %v", err)
		}
		<-s.Done()
	}
}

func TestConnLimit(t *testing.T) {
	stop, err := NewStop()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stop.FD())
	s := NewConnLimit(2, stop)
	for range 2 {
		if !s.Acquire() {
			t.Fatal("no slot was acquired, but one is free")
		}
	}
	third := make(chan bool)
	acquire := func() { third <- s.Acquire() }
	go acquire()
	select {
	case <-third:
		t.Fatal("a third slot was acquired")
	case <-time.After(2 * askAgain):
	}
	if s.RoomWanted() {
		t.Error("room is wanted, but no thread can make room")
	}
	s.Release()
	if !<-third {
		t.Error("the slot that was released was not acquired")
	}
	go acquire()
	time.Sleep(20 * time.Millisecond)
	stop.Begin()
	if <-third {
		t.Error("a slot was acquired after the stop")
	}
	s.Release()
	for range 20 {
		if s.Acquire() {
			t.Fatal("a free slot was acquired after the stop")
		}
	}
}

// TestRoomWanted checks that an acceptor asks for room until it gets a slot, and that only
// one thread makes room each time.
func TestRoomWanted(t *testing.T) {
	stop, err := NewStop()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stop.FD())
	s := NewConnLimit(1, stop)
	// The function that asks for room returns only when the test has checked the state.
	asks, looked := make(chan struct{}), make(chan struct{})
	s.OnFull(func() { asks <- struct{}{}; <-looked })
	if !s.Acquire() || s.RoomWanted() {
		t.Fatal("room is wanted, but a slot was free")
	}
	acquired := make(chan bool)
	go func() { acquired <- s.Acquire() }()
	for i := range 3 { // no thread makes room at first
		<-asks
		if !s.RoomWanted() {
			t.Errorf("call %d: no room is wanted", i)
		}
		if s.RoomWanted() {
			t.Errorf("call %d: two threads must make room for one client", i)
		}
		if i == 2 {
			s.Release()
		}
		looked <- struct{}{}
	}
	if !<-acquired {
		t.Error("the slot that was released was not acquired")
	}
	// A client that leaves by itself makes room, too.
	go func() { acquired <- s.Acquire() }()
	<-asks
	s.Release()
	looked <- struct{}{}
	if !<-acquired || s.RoomWanted() {
		t.Error("room is wanted, but the acceptor has its slot")
	}
	// A stop ends the wait.
	go func() { acquired <- s.Acquire() }()
	<-asks
	stop.Begin()
	looked <- struct{}{}
	if <-acquired {
		t.Error("a slot was acquired after the stop")
	}
}
