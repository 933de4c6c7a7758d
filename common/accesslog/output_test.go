package accesslog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/accesslog"
)

// TestLinesAppear checks that lines are written soon, even if the queue is not full and no
// more lines follow.
func TestLinesAppear(t *testing.T) {
	r, w := io.Pipe()
	log, end := start(t, w)
	for range 3 {
		log.Log(entry())
		b := make([]byte, 1000)
		if n, err := r.Read(b); err != nil || !bytes.HasSuffix(b[:n], []byte("0.000123\n")) {
			t.Fatalf("read %q, %v", b[:n], err)
		}
	}
	end()
}

// A script is a stream whose writes have the results of its steps, one after the other.
// After the last step, all writes succeed.
type script struct {
	steps []step

	mu      sync.Mutex
	written bytes.Buffer
	writes  int
	news    chan struct{} // holds a token after a write
}

// A step is a write that takes n bytes, or all bytes if n < 0, and returns err.
type step struct {
	n   int
	err error
}

func newScript(steps ...step) *script {
	return &script{steps: steps, news: make(chan struct{}, 1)}
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := len(p), error(nil)
	if s.writes < len(s.steps) {
		if at := s.steps[s.writes]; at.n >= 0 {
			n = min(n, at.n)
		}
		err = s.steps[s.writes].err
	}
	s.writes++
	s.written.Write(p[:n])
	select {
	case s.news <- struct{}{}:
	default:
	}
	return n, err
}

func (s *script) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

// await waits until the bytes that were written end with suffix.
func (s *script) await(t *testing.T, suffix string) {
	t.Helper()
	late := time.After(patience)
	for !strings.HasSuffix(s.String(), suffix) {
		select {
		case <-s.news:
		case <-late:
			t.Fatalf("after %v, %q is written; want %q at the end", patience, s, suffix)
		}
	}
}

// calls returns how many writes there were.
func (s *script) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func writeError(errno syscall.Errno) error {
	return &os.PathError{Op: "write", Path: "/dev/stdout", Err: errno}
}

var noSpace = writeError(syscall.ENOSPC)

// TestWriteErrors checks that only the lines that were in a failed write are dropped.
func TestWriteErrors(t *testing.T) {
	const full = ": write /dev/stdout: no space left on device\n"
	for _, tt := range []struct {
		name  string
		steps []step
		want  string // of the lines one, two, three
	}{
		{"the first line is torn", []step{{2, noSpace}}, "on\n1 line dropped" + full + "two\nthree\n"},
		{"the first line is lost", []step{{0, noSpace}}, "1 line dropped" + full + "two\nthree\n"},
		{"only the end of a line is lost", []step{{3, noSpace}}, "one\ntwo\nthree\n"},
		{"everything is written, but there is an error", []step{{-1, noSpace}}, "one\ntwo\nthree\n"},
		{"a short write without an error", []step{{2, nil}}, "on\n1 line dropped: short write\ntwo\nthree\n"},
		{"several errors in a row", []step{{2, noSpace}, {0, noSpace}, {0, noSpace}}, "on\n1 line dropped" + full + "two\nthree\n"},
		{"the report is torn, too", []step{{2, noSpace}, {5, noSpace}, {1, noSpace}}, "on\n1 li\n1 line dropped" + full + "two\nthree\n"},
		{"another error", []step{{0, writeError(syscall.EIO)}}, "1 line dropped: write /dev/stdout: input/output error\ntwo\nthree\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // most of the time, it waits for the next try
			s := newScript(tt.steps...)
			out := accesslog.NewOutput(s)
			fmt.Fprintln(out, "one")
			late := time.After(patience)
			for s.calls() <= len(tt.steps) && !strings.HasSuffix(s.String(), "one\n") { // until the last error
				select {
				case <-s.news:
				case <-late:
					t.Fatalf("%d writes, want %d; written: %q", s.calls(), len(tt.steps)+1, s)
				}
			}
			fmt.Fprint(out, "two\n")
			s.await(t, "two\n")
			fmt.Fprint(out, "three\n")
			accesslog.Close(patience, out)
			if got := s.String(); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestFullDisk checks that an Output tries a stream that fails again, but not too often, and
// that each line is written or counted.
func TestFullDisk(t *testing.T) {
	const failures = 3
	steps := []step{{7, noSpace}}
	for range failures {
		steps = append(steps, step{0, noSpace})
	}
	s := newScript(steps...)
	out := accesslog.NewOutput(s)
	total, began := 0, time.Now()
	for ; s.calls() <= failures; total++ {
		if _, err := fmt.Fprintln(out, "line", total); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > patience {
			t.Fatalf("%d writes in %v", s.calls(), patience)
		}
		time.Sleep(time.Millisecond) // the pace of the requests
	}
	took := time.Since(began)
	s.await(t, "\n")
	fmt.Fprintln(out, "last line")
	accesslog.Close(patience, out)
	text := s.String()
	if took < failures*200*time.Millisecond {
		t.Errorf("%d writes failed within %v, want fewer", failures+1, took)
	}
	reports := regexp.MustCompile(`(?m)^(\d+) lines dropped: write /dev/stdout: no space left on device$`).FindAllStringSubmatch(text, -1)
	dropped := 0
	for _, r := range reports {
		n, _ := strconv.Atoi(r[1])
		dropped += n
	}
	written := len(regexp.MustCompile(`(?m)^line \d+$`).FindAllString(text, -1))
	if !strings.HasSuffix(text, "last line\n") || len(reports) != 1 || written+dropped != total || dropped < failures {
		t.Errorf("%d lines, %d written, %d dropped in %d reports: %.300q", total, written, dropped, len(reports), text)
	}
}

// A stuck stream has a reader that does not read until released is closed.
type stuck struct {
	entered, released chan struct{}
	once              sync.Once
	bytes.Buffer
}

func newStuck() *stuck {
	return &stuck{entered: make(chan struct{}), released: make(chan struct{})}
}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.released
	return s.Buffer.Write(b)
}

// TestSlowReader checks that workers do not wait for the reader of the log, and that each
// line is written or counted.
func TestSlowReader(t *testing.T) {
	stream := newStuck()
	log, end := start(t, stream)
	log.Log(entry())
	<-stream.entered
	e, total := entry(), 1
	e.Target = bytes.Repeat([]byte("\n"), 1000)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				log.Log(e)
			}
		})
		total += 1000
	}
	wg.Wait()
	close(stream.released)
	end()
	lines := strings.SplitAfter(stream.String(), "\n")
	last := lines[len(lines)-2]
	number, rest, _ := strings.Cut(last, " ")
	if rest != "lines dropped\n" {
		t.Fatalf("the last line is %q", last)
	}
	written := len(lines) - 2
	dropped, _ := strconv.Atoi(number)
	if written+dropped != total || written < 200 {
		t.Errorf("%d lines written, %d dropped, %d logged", written, dropped, total)
	}
}

// TestCloseDoesNotWaitForAStuckReader checks that Close waits no longer for several stuck
// readers than for one.
func TestCloseDoesNotWaitForAStuckReader(t *testing.T) {
	var outputs []*accesslog.Output
	for range 4 {
		stream := newStuck()
		defer close(stream.released)
		out := accesslog.NewOutput(stream)
		fmt.Fprintln(out, "line")
		<-stream.entered
		outputs = append(outputs, out)
	}
	start := time.Now()
	accesslog.Close(500*time.Millisecond, outputs...)
	if took := time.Since(start); took > 1900*time.Millisecond {
		t.Errorf("Close took %v", took)
	}
}

// TestCloseWritesTheOthers checks that a stuck reader does not stop another Output.
func TestCloseWritesTheOthers(t *testing.T) {
	stream := newStuck()
	defer close(stream.released)
	first, second := accesslog.NewOutput(stream), newScript()
	out := accesslog.NewOutput(second)
	fmt.Fprintln(first, "line")
	<-stream.entered
	fmt.Fprintln(out, "the last line")
	accesslog.Close(500*time.Millisecond, first, out)
	second.await(t, "the last line\n")
}

// TestReaderLeft checks that nothing is written after EPIPE.
func TestReaderLeft(t *testing.T) {
	s := newScript(step{0, writeError(syscall.EPIPE)})
	out := accesslog.NewOutput(s)
	fmt.Fprintln(out, "one")
	accesslog.Close(patience, out) // waits until the writer has ended after EPIPE
	for range 3 {
		fmt.Fprintln(out, "two")
	}
	accesslog.Close(patience, out)
	if s.calls() != 1 || s.String() != "" {
		t.Errorf("%d writes: %q", s.calls(), s)
	}
}

// TestReaderLeftIsNotTriedAgain checks the same without Close.
func TestReaderLeftIsNotTriedAgain(t *testing.T) {
	left := errors.Join(writeError(syscall.EPIPE))
	s := newScript(step{0, left}, step{0, left})
	out := accesslog.NewOutput(s)
	for range 3 {
		fmt.Fprintln(out, "line")
		<-time.After(30 * time.Millisecond) // longer than the time between two writes
	}
	accesslog.Close(patience, out)
	if s.calls() != 1 {
		t.Errorf("%d writes, want 1", s.calls())
	}
}

// TestDevFull writes to /dev/full, which is like a full disk. Then a file replaces it, as if
// the disk had room again.
func TestDevFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	swap := &swapped{File: full, failed: make(chan struct{}, 1)}
	out := accesslog.NewOutput(swap)
	fmt.Fprintln(out, "lost")
	<-swap.failed
	swap.to(file)
	fmt.Fprintln(out, "not lost")
	accesslog.Close(patience, out)
	got, err := os.ReadFile(file.Name())
	want := "1 line dropped: write /dev/full: no space left on device\nnot lost\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// A swapped file can be replaced by another one.
type swapped struct {
	mu sync.Mutex
	*os.File
	failed chan struct{}
}

func (s *swapped) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.File.Write(p)
	if err != nil {
		select {
		case s.failed <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (s *swapped) to(f *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.File = f
}

// TestLast checks that the last line follows all others and the report of those that were
// dropped, and that nothing follows it.
func TestLast(t *testing.T) {
	stream := newStuck()
	out := accesslog.NewOutput(stream)
	fmt.Fprintln(out, "first")
	<-stream.entered
	full := bytes.Repeat([]byte("line\n"), 100_000)
	for range 5 { // the queue takes two of them
		_, _ = out.Write(full)
	}
	out.Last([]byte("stopped\n"))
	fmt.Fprintln(out, "too late")
	close(stream.released)
	accesslog.Close(patience, out)
	if text := stream.String(); !strings.HasPrefix(text, "first\nline\n") || !strings.HasSuffix(text, "\nline\n300000 lines dropped\nstopped\n") {
		t.Errorf("%.20q ... %q", text, text[max(0, len(text)-50):])
	}
}

// TestLastWithoutClose checks that the last line waits for Close.
func TestLastWithoutClose(t *testing.T) {
	s := newScript()
	out := accesslog.NewOutput(s)
	fmt.Fprintln(out, "one")
	out.Last([]byte("stopped\n"))
	s.await(t, "one\n")
	accesslog.Close(patience, out)
	if got := s.String(); got != "one\nstopped\n" {
		t.Errorf("got %q", got)
	}
}
