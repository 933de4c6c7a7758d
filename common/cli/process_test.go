package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/h1"
	"fourways.example/common/sock"
)

// TestMain makes the test binary a small server if CLI_TEST_SERVER is set, so that tests can
// observe exits, signals and pipes from outside. The server logs and waits like a stage, but
// answers no requests.
func TestMain(m *testing.M) {
	if os.Getenv("CLI_TEST_SERVER") == "" {
		// Under nohup(1), the small servers would inherit that SIGHUP is ignored, and outlive it. They
		// do not inherit signals that are delivered to a channel.
		signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
		os.Exit(m.Run())
	}
	cfg := Parse(stage4, os.Args[1:])
	if os.Getenv("CLI_TEST_SERVER") == "gc" {
		fmt.Println(debug.SetGCPercent(-1))
		os.Exit(0)
	}
	l, err := sock.Socket(unix.AF_INET)
	if err == nil {
		err = l.Bind(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), cfg.Port))
	}
	if err == nil {
		err = l.Listen(1)
	}
	if err != nil {
		cfg.Fatal(fmt.Errorf("listen on 127.0.0.1:%d: %w", cfg.Port, err))
	}
	go cfg.Stop.OnSignal([]*sock.Listener{l})
	cfg.Started([]*sock.Listener{l})
	for range 3 { // the reader of the log may have left
		cfg.HTTP.Log.Log(&h1.Entry{Time: time.Now(), Status: 200})
		time.Sleep(30 * time.Millisecond)
	}
	if os.Getenv("CLI_TEST_SERVER") == "lost" {
		_ = l.Shutdown() // as another program would do
		_, err := l.Accept(0)
		cfg.Stop.ListenerClosed(l, err)
		<-cfg.Stop.Done()
		time.Sleep(time.Minute) // like a response that does not end; OnSignal ends the process
	}
	_, err = l.Accept(0)
	if sock.ClassifyAcceptError(err) != sock.ListenerClosed || !cfg.Stop.Stopping() {
		cfg.Fatal(fmt.Errorf("accept woke up: %w", err))
	}
	cfg.HTTP.Log.Log(&h1.Entry{Time: time.Now(), Status: 299}) // flushed by Exit
	switch os.Getenv("CLI_TEST_SERVER") {
	case "stuck": // like a response that does not end
		cfg.Warn("stopping")
		time.Sleep(time.Minute)
	case "error":
		cfg.Exit(errors.New("the ground gave way"))
	}
	cfg.Exit(nil)
}

// server returns the command that starts the small server.
func server(t *testing.T, how string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CLI_TEST_SERVER="+how, "USER_NAME=", "USER_PASS=", "SECRET=",
		"GORACE=atexit_sleep_ms=0") // the race detector would sleep for a second at each exit
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stdout, stderr
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err == nil {
		return 0
	}
	return exit.ExitCode()
}

func TestEndsAtOnce(t *testing.T) {
	taken := listen(t, unix.AF_INET, "127.0.0.1:0")
	port := fmt.Sprint(taken.Addr().Port())
	for _, tt := range []struct {
		args   string
		status int
		stdout string // a pattern for all of it
		stderr string
	}{
		{"-h", 0, `(?s)usage: stage4-epoll \[flags\]\n.*`, ``},
		{"--version", 0, `stage4-epoll \S+\n`, ``},
		{"--frob", 2, ``, `stage4-epoll: "--frob": no such flag; -h lists the flags\n`},
		{"-R|/dev/null", 1, ``, `stage4-epoll: root "/dev/null": not a folder; choose the folder to serve with -R\n`},
		{"-p|" + port, 1, ``, `stage4-epoll: listen on 127\.0\.0\.1:` + port +
			`: bind: address already in use; choose another port with -p, or find the program that uses this one with ss -ltnp\n`},
	} {
		cmd, stdout, stderr := server(t, "yes", strings.Split(tt.args, "|")...)
		cmd.Stdout = stdout
		err := cmd.Run()
		if got := exitCode(t, err); got != tt.status {
			t.Errorf("%s: status %d, want %d", tt.args, got, tt.status)
		}
		if !regexp.MustCompile(`^` + tt.stdout + `$`).Match(stdout.Bytes()) {
			t.Errorf("%s: stdout %q", tt.args, stdout)
		}
		if !regexp.MustCompile(`^` + tt.stderr + `$`).Match(stderr.Bytes()) {
			t.Errorf("%s: stderr %q", tt.args, stderr)
		}
	}
}

// TestGarbage checks that garbage is collected when the heap has grown by a quarter, unless
// GOGC is set.
func TestGarbage(t *testing.T) {
	for env, want := range map[string]string{"GOGC=": "25\n", "GOGC=50": "50\n"} {
		cmd, _, _ := server(t, "gc")
		cmd.Env = append(cmd.Env, env)
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%s: the percentage is %q (%v), want %q", env, out, err, want)
		}
	}
}

// started starts the small server and waits for its start line.
func started(t *testing.T, how string, args ...string) (cmd *exec.Cmd, stdout *bufio.Reader, stderr *bytes.Buffer) {
	t.Helper()
	cmd, _, stderr = server(t, how, append(args, "-p0", "-n2")...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	stdout = bufio.NewReader(pipe)
	line, err := stdout.ReadString('\n')
	if err != nil || !regexp.MustCompile(`^stage4-epoll: serving /.* on http://127\.0\.0\.1:\d+ with 2 workers; open http://127\.0\.0\.1:\d+/; login is off.*\n$`).MatchString(line) {
		t.Fatalf("start line %q, %v, stderr %s", line, err, stderr)
	}
	return cmd, stdout, stderr
}

// ends waits for the end of the small server.
func ends(t *testing.T, cmd *exec.Cmd, stdout *bufio.Reader) (status int, rest string, took time.Duration) {
	t.Helper()
	start := time.Now()
	var b bytes.Buffer
	if _, err := b.ReadFrom(stdout); err != nil {
		t.Fatal(err)
	}
	status = exitCode(t, cmd.Wait())
	return status, b.String(), time.Since(start)
}

func TestGracefulStop(t *testing.T) {
	for _, sig := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		cmd, stdout, stderr := started(t, "yes")
		_ = cmd.Process.Signal(sig)
		status, log, took := ends(t, cmd, stdout)
		if status != 0 || took > 2*time.Second || stderr.Len() > 0 {
			t.Errorf("%v: status %d after %v, stderr %q", sig, status, took, stderr)
		}
		if strings.Count(log, "\n") != 5 || !strings.HasSuffix(log, `"-" 299 0 0.000000`+"\nstage4-epoll: stopped\n") {
			t.Errorf("%v: the log is %q", sig, log)
		}
	}
}

func TestExitWithAnError(t *testing.T) {
	cmd, stdout, stderr := started(t, "error")
	_ = cmd.Process.Signal(unix.SIGTERM)
	status, log, _ := ends(t, cmd, stdout)
	if status != 1 || stderr.String() != "stage4-epoll: the ground gave way\n" || !strings.Contains(log, " 299 ") || strings.Contains(log, "stopped") {
		t.Errorf("status %d, stderr %q, log %q", status, stderr, log)
	}
}

func TestSecondSignal(t *testing.T) {
	cmd, stdout, _ := started(t, "stuck")
	_ = cmd.Process.Signal(unix.SIGINT)
	time.Sleep(200 * time.Millisecond)
	_ = cmd.Process.Signal(unix.SIGINT)
	if status, log, took := ends(t, cmd, stdout); status != 1 || took > time.Second || strings.Contains(log, "stopped") {
		t.Errorf("status %d after %v, log %q", status, took, log)
	}
}

func TestEndOfTheGrace(t *testing.T) {
	t.Parallel()
	cmd, stdout, _ := started(t, "stuck")
	_ = cmd.Process.Signal(unix.SIGTERM)
	status, log, took := ends(t, cmd, stdout)
	if status != 0 || took < 4*time.Second || took > 5500*time.Millisecond || !strings.Contains(log, " 299 ") || !strings.HasSuffix(log, "\nstage4-epoll: stopped\n") {
		t.Errorf("status %d after %v, log %q", status, took, log)
	}
}

// TestListenerLost checks that the server ends with an error if another program has shut its
// listener down, even if a response takes longer than the grace.
func TestListenerLost(t *testing.T) {
	t.Parallel()
	cmd, stdout, stderr := started(t, "lost")
	status, log, took := ends(t, cmd, stdout)
	if status != 1 || took < 4*time.Second || took > 5500*time.Millisecond || strings.Contains(log, "stopped") ||
		!regexp.MustCompile(`^stage4-epoll: listen on 127\.0\.0\.1:\d+: accept4: .*; start the server again\n$`).Match(stderr.Bytes()) {
		t.Errorf("status %d after %v, stderr %q, log %q", status, took, stderr, log)
	}
}

// TestStdoutClosed checks that the server goes on when the reader of its stdout has left, as
// in `server | head -1`.
func TestStdoutClosed(t *testing.T) {
	cmd, _, stderr := server(t, "yes", "-p0")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	r.Close() // before the start line
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := exitCode(t, cmd.Wait()); status != 0 || stderr.Len() > 0 {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

// TestSilent checks that -s turns off only the access log. The stop and panics are still
// reported.
func TestSilent(t *testing.T) {
	cmd, stdout, stderr := started(t, "yes", "-s")
	_ = cmd.Process.Signal(unix.SIGTERM)
	if status, log, _ := ends(t, cmd, stdout); status != 0 || log != "stage4-epoll: stopped\n" || stderr.Len() > 0 {
		t.Errorf("status %d, log %q, stderr %q", status, log, stderr)
	}
	c, out, errs := config(t, stage1, nil, "-s")
	c.HTTP.Log.Log(&h1.Entry{Status: 200})
	c.HTTP.Log.Panic("oops", []byte("goroutine 1"))
	flush(c)
	if out.Len() > 0 || !strings.Contains(errs.String(), "oops") {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
}
