package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

const (
	// patience bounds every wait for a server that works. Only a server with a fault lets it run out.
	patience = process.Patience
	// spinning is more calls than a server makes during one trial unless it repeats a failing call without a pause.
	// An acceptor makes 20 in a second.
	spinning = 200
	// quiet is how long a server without work is observed after a trial, and busy is more CPU time than it may use
	// meanwhile. CPU time is counted in steps of 10 ms.
	quiet, busy = 100 * time.Millisecond, 50 * time.Millisecond
)

// accountEnv defines the account with which the trials log in.
var accountEnv = []string{"USER_NAME=ada", "USER_PASS=secret", "SECRET=0123456789abcdef0123456789abcdef"}

// A trial is one run of a row against one stage.
type trial struct {
	row    *row
	stage  int
	bin    string // the server's executable
	root   *docroot.Root
	dir    string // a folder for the files of this trial
	server *process.Server

	victim  *client // the client whose connection or request meets the fault
	control *client // another client, connected before; nil in stage 1, which serves one client at a time
	fds     int     // descriptors of the server before the first of these clients

	found []string // what must not happen in any row
}

// errMissed means that the server has not made the call that was to fail, or not often enough.
var errMissed = errors.New("the call was not made")

// errBefore means that the server did not serve as it must before the fault.
var errBefore = errors.New("before the fault")

// run runs the trial. It returns the outcome for the table. The error is errMissed if no call failed.
func (t *trial) run() (outcome string, err error) {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t.dir = dir
	if t.row.phase == atStart {
		return t.runStart()
	}
	return t.runServing()
}

// flags are the server's flags. Two loops and four threads give the same outcome on every machine.
func (t *trial) flags() []string {
	flags := []string{"--idle-timeout", "60s"}
	switch t.stage {
	case 2, 3:
		flags = append(flags, "-n", "4")
	case 4:
		flags = append(flags, "-n", "2")
	}
	return append(flags, t.row.flags...)
}

// begin starts the server. The port is fixed, since a fault may hide it from the start line.
func (t *trial) begin(wrap ...string) error {
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	prog := &process.Program{Path: t.bin, Stage: t.stage}
	t.server, err = prog.Begin(process.Config{Flags: t.flags(), Env: accountEnv, Root: t.root.Dir, Port: port, Wrap: wrap})
	return err
}

// exited matches the error of Begin for a server that ends by itself.
var exited = regexp.MustCompile(`(?s)exits at start: (exit status \d+|signal: [a-z ]+).*?\n\t\| ([^\n]*)`)

// runStart starts the server with the fault. If the server starts, it must serve and stop.
func (t *trial) runStart() (outcome string, err error) {
	out := filepath.Join(t.dir, "calls")
	err = t.begin(append([]string{"strace", "-D", "-qq"}, t.injection().flags(out)...)...)
	if err != nil {
		m := exited.FindStringSubmatch(err.Error())
		if m == nil {
			return "", err
		}
		if hits(out) < t.row.times() {
			return "", errMissed
		}
		return fmt.Sprintf("the server does not start: %s, `%s`", m[1], t.plain(m[2])), nil
	}
	defer t.server.Kill()
	seen := "the server starts"
	if t.row.check != nil {
		seen += t.row.check(t)
	}
	c, err := t.dial()
	if err == nil {
		err = c.ask()
		c.close()
	}
	if err != nil && t.row.dies { // it listens before it fails, so Begin may have succeeded
		state, _, _ := t.server.Wait(patience)
		if hits(out) < t.row.times() {
			return "", errMissed
		}
		return fmt.Sprintf("the server does not start: %s, `%s`", state, t.plain(t.server.Stderr.String())), nil
	}
	if err != nil {
		t.finding("serves no client: %v", err)
	}
	if err := t.server.Stop(); err != nil {
		t.finding("does not stop: %v", err)
	}
	if hits(out) < t.row.times() {
		return "", errMissed
	}
	return seen + t.notes() + t.complaints(), nil
}

// notes returns what the start line says after the address.
func (t *trial) notes() string {
	_, rest, _ := strings.Cut(t.server.Start, "; open ")
	if _, notes, ok := strings.Cut(rest, "; "); ok {
		return "; the start line says `" + t.plain(notes) + "`"
	}
	return ""
}

// runServing makes calls of a server fail that serves already.
func (t *trial) runServing() (outcome string, err error) {
	if err := t.begin(); err != nil {
		return "", err
	}
	defer t.server.Kill()
	if err := t.prepare(); err != nil {
		return "", fmt.Errorf("%w: %w", errBefore, err)
	}
	tracer, err := attach(t.server.PID(), t.injection(), t.dir)
	if err != nil {
		return "", err
	}
	seen := t.row.act(t)
	if !t.server.Exited() && !t.row.global {
		t.othersAreServed("during the fault")
	}
	tracer.detach()
	n := hits(tracer.out)
	if n >= spinning {
		t.finding("repeats the call %d times or more", spinning)
	}
	if n < t.row.times() {
		return "", errMissed
	}
	if t.row.phase == serving && !t.server.Exited() {
		t.recovers()
	}
	if t.row.phase == serving && t.server.Exited() {
		state, _, _ := t.server.Wait(time.Second)
		seen = strings.TrimPrefix(seen+"; the server ends: "+state, "; ")
	}
	return seen + t.complaints(), nil
}

// prepare brings the server and its clients to the point at which the fault comes.
func (t *trial) prepare() error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	for _, path := range []string{"/plain.txt", "/large.bin", "/medium.bin", "/healthz"} { // into the cache; and the log reads the time zone
		if got := c.get(path, 200); got != "" {
			return fmt.Errorf("%s: %s", path, got)
		}
	}
	c.close()
	if !kernel.Eventually(patience, func() bool { return t.server.Connections() == 0 }) {
		return errors.New("the server does not close a connection")
	}
	t.fds = len(t.server.FDs())
	if t.stage > 1 {
		if t.control, err = t.dial(); err == nil {
			err = t.control.ask()
		}
		if err != nil {
			return err
		}
	}
	if t.row.before != nil {
		return t.row.before(t)
	}
	return nil
}

// injection returns the fault of the row, on the descriptors that the row names.
func (t *trial) injection() injection {
	i := injection{calls: strings.Split(t.row.call, ", "), fault: t.row.errors[0], when: t.row.when}
	switch t.row.on {
	case onVictim:
		if end, err := kernel.ServerEnd(t.victim.conn); err == nil {
			i.on = []string{fmt.Sprintf("socket:[%d]", end.Inode)}
		}
	case onListener:
		for l := range kernel.Listeners(t.server.Port) {
			i.on = append(i.on, fmt.Sprintf("socket:[%d]", l.Inode))
		}
	case onStdout:
		i.on = []string{t.server.What(1)}
	case onEventfds:
		i.on = []string{"anon_inode:[eventfd]"}
	case onRoot:
		i.on = []string{t.root.Dir}
	case onNothing:
	default:
		i.on = []string{string(t.row.on)}
	}
	return i
}

// othersAreServed checks that the control client and a new client are answered.
func (t *trial) othersAreServed(when string) {
	if t.stage == 1 { // the victim keeps the only thread
		t.victim.close()
	}
	if t.control != nil {
		if err := t.control.ask(); err != nil {
			t.finding("%s, another client is not answered: %v", when, err)
			t.control.close()
			t.control = nil
		}
	}
	c, err := t.dial()
	if err == nil {
		err = c.ask()
		c.close()
	}
	if err != nil {
		t.finding("%s, a new client is not answered: %v", when, err)
	}
}

// recovers checks that the server serves after the fault, has no descriptor left from it, and uses no CPU time.
func (t *trial) recovers() {
	if t.row.later != nil {
		if got := t.row.later(t); got != nothing {
			t.finding("after the fault, %s", got)
		}
	}
	t.victim.close()
	t.othersAreServed("after the fault")
	t.control.close()
	if t.row.lost == 0 && !kernel.Eventually(patience, func() bool { return t.server.Exited() || len(t.server.FDs()) <= t.fds }) {
		t.finding("%d descriptors are open, %d before the fault", len(t.server.FDs()), t.fds)
	}
	before := t.server.CPU()
	<-time.After(quiet)
	if used := t.server.CPU() - before; used >= busy {
		t.finding("uses %v of CPU time in %v without a client", used, quiet)
	}
}

// finding records something that no row may show.
func (t *trial) finding(format string, args ...any) {
	t.found = append(t.found, fmt.Sprintf(format, args...))
}

// complaints returns what the server has printed on stderr, and the findings.
func (t *trial) complaints() (text string) {
	if line, _, _ := strings.Cut(t.server.Stderr.String(), "\n"); line != "" {
		text = "; on stderr: `" + t.plain(line) + "`"
	}
	for _, f := range t.found {
		text += "; **" + f + "**"
	}
	return text
}

var (
	address   = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]*\]):\d+`)
	goAddress = regexp.MustCompile(`0x[0-9a-f]+`)
)

// plain replaces what differs between runs and between stages in a line of the server.
func (t *trial) plain(line string) string {
	line = strings.TrimPrefix(strings.TrimSpace(line), stages.Dirs[t.stage]+": ")
	line = strings.ReplaceAll(line, t.root.Dir, "ROOT")
	line = address.ReplaceAllString(line, "ADDRESS")
	line = goAddress.ReplaceAllString(line, "0x…")
	return strings.NewReplacer("|", "\\|", "`", "'").Replace(line)
}

// A client is one connection to the server. A nil client can be closed.
type client struct {
	conn *net.TCPConn
	r    *bufio.Reader
	body []byte // the beginning of the last response's body
}

func (t *trial) dial() (*client, error) { return t.dialSmall(0) }

// dialSmall connects with a receive buffer of the given size in bytes; 0 is the usual size.
func (t *trial) dialSmall(buffer int) (*client, error) {
	conn, err := t.server.Dial(process.DialOptions{RecvBuf: buffer})
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReader(conn)}, nil
}

func (c *client) close() {
	if c != nil {
		_ = c.conn.SetLinger(0) // no socket stays in TIME_WAIT, and the server learns at once
		_ = c.conn.Close()
	}
}

func (c *client) send(data string) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c.conn, data) // an error shows when the client reads
}

// ask checks that the server answers a small request.
func (c *client) ask() error {
	if got := c.get("/healthz", 200); got != "" {
		return errors.New(got)
	}
	return nil
}

// get sends a request and reads the response. It returns "" if the response has the expected status, and otherwise
// what the client saw.
func (c *client) get(target string, status int, fields ...string) string {
	c.send(wire.Request("GET", target, "", fields...))
	return c.read(status)
}

// read is get for a request that was sent already.
func (c *client) read(status int) string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := c.r.Peek(1)
	begun := err == nil
	var resp *wire.Response
	if begun {
		resp, err = wire.ReadResponse(c.r, "GET", func(resp *wire.Response, in io.Reader) (err error) {
			if c.body, err = io.ReadAll(io.LimitReader(in, 4096)); err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, in)
			if err == nil && fmt.Sprint(n+int64(len(c.body))) != resp.Get("Content-Length") {
				err = io.ErrUnexpectedEOF
			}
			return err
		})
	}
	switch {
	case err == nil && resp.Status == status:
		return ""
	case err == nil && resp.Has("Connection", "close"):
		return fmt.Sprintf("the answer is %d, and that connection is closed", resp.Status)
	case err == nil:
		return fmt.Sprintf("the answer is %d", resp.Status)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "**no answer**"
	case begun:
		return "the response is cut off: that connection is closed"
	}
	return "that connection is closed"
}

// end waits for the end of the connection.
func (c *client) end() string {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c.r)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "**the connection does not end**"
	case err == nil, errors.Is(err, syscall.ECONNRESET):
		return ""
	}
	return err.Error()
}
