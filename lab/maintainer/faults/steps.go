package faults

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/wire"
)

const nothing = "nothing is seen"

// seen returns what, or nothing if it is "".
func seen(what string) string {
	if what == "" {
		return nothing
	}
	return what
}

// Steps before the fault.

// connected connects the victim. A worker or a loop has it when its first request is answered.
func connected(t *trial) (err error) {
	if t.victim, err = t.dial(); err != nil {
		return err
	}
	return t.victim.ask()
}

// refused makes the victim's request bad, and reads the answer. The server then reads and drops what still comes.
func refused(t *trial) error {
	if err := connected(t); err != nil {
		return err
	}
	t.victim.send("bad\r\n\r\n")
	if got := t.victim.read(400); got != "" {
		return fmt.Errorf("a bad request: %s", got)
	}
	return nil
}

// half sends the victim's request in part: the head and half of the body.
func half(t *trial) error {
	if err := connected(t); err != nil {
		return err
	}
	const part = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234"
	t.victim.send(part)
	all := int64(len(wire.Request("GET", "/healthz", "")) + len(part))
	if !kernel.Eventually(patience, func() bool { return kernel.AllRead(t.victim.conn, all) }) {
		return fmt.Errorf("the server does not read half a body")
	}
	return nil
}

// deafAfter connects a victim with a small window, and has it request a target.
func deafAfter(target string) func(t *trial) error {
	return func(t *trial) (err error) {
		if t.victim, err = t.dialSmall(4096); err != nil {
			return err
		}
		if got := t.victim.get(target, 200); got != "" {
			return fmt.Errorf("%s: %s", target, got)
		}
		return nil
	}
}

// deaf has a victim with a small window request a large file and read only its first byte. fields are further
// fields of the request.
func deaf(target string, fields ...string) func(t *trial) error {
	return func(t *trial) error {
		if err := deafAfter("/healthz")(t); err != nil {
			return err
		}
		t.victim.send(wire.Request("GET", target, "", fields...))
		_ = t.victim.conn.SetReadDeadline(time.Now().Add(patience))
		_, err := t.victim.r.Peek(1)
		return err
	}
}

// stale has the victim request a file, and waits until the cache must look at the disk again.
func stale(target string) func(t *trial) error {
	return func(t *trial) error {
		if err := connected(t); err != nil {
			return err
		}
		if got := t.victim.get(target, 200); got != "" {
			return fmt.Errorf("%s: %s", target, got)
		}
		<-time.After(600 * time.Millisecond) // longer than the 500 ms for which an entry is used without a look
		return nil
	}
}

// Steps that cause the call.

// get has the victim request a target that is answered with status.
func get(target string, status int) func(t *trial) string {
	return func(t *trial) string { return seen(t.victim.get(target, status)) }
}

// twice has the victim request a target twice: the second request uses a connection that has survived the fault.
func twice(target string, status int) func(t *trial) string {
	return func(t *trial) string {
		got := t.victim.get(target, status)
		if got == "" {
			got = t.victim.get(target, status)
		}
		return seen(got)
	}
}

// videos has the victim request the list of videos, which must name a.mp4.
func videos(t *trial) string {
	got := t.victim.get("/api/video", 200)
	if got == "" && !strings.Contains(string(t.victim.body), `"a.mp4"`) {
		return "the list is 200, and lacks what cannot be read"
	}
	return seen(got)
}

// names returns what the start line lacks if it does not name the port.
func names(t *trial) string {
	if strings.Contains(t.server.Start, fmt.Sprintf(":%d", t.server.Port)) {
		return ""
	}
	return ", and the start line names no address"
}

// post has the victim send the rest of a body.
func post(t *trial) string {
	t.victim.send("56789")
	return seen(t.victim.read(200))
}

// more has a refused client send more bytes, and end its stream.
func more(t *trial) string {
	t.victim.send("more")
	_ = t.victim.conn.CloseWrite()
	if !gone(t) {
		return "**the connection stays open**"
	}
	return nothing
}

// gone waits until the server has closed all connections but that of the control client.
func gone(t *trial) bool {
	return kernel.Eventually(patience, func() bool { return t.server.Connections() <= min(t.stage-1, 1) })
}

// leaves has the victim request a file with Connection: close.
func leaves(target string) func(t *trial) string {
	return func(t *trial) string {
		got := t.victim.get(target, 200, "Connection: close")
		if got == "" {
			got = t.victim.end()
		}
		return seen(got)
	}
}

// quits has the victim end its stream, after which the server closes the connection.
func quits(t *trial) string {
	got := t.victim.get("/plain.txt", 200)
	if got == "" {
		_ = t.victim.conn.CloseWrite()
		<-time.After(50 * time.Millisecond) // no end comes, because the call does nothing
	}
	return seen(got)
}

// bad has the victim send a bad request, and read the answer and the end of the connection.
func bad(t *trial) string {
	t.victim.send("bad\r\n\r\n")
	got := t.victim.read(400)
	if got == "" {
		got = t.victim.end()
	}
	return seen(got)
}

// fresh connects the victim during the fault.
func fresh(t *trial) string {
	var err error
	if t.victim, err = t.dial(); err != nil {
		return err.Error()
	}
	return seen(t.victim.get("/plain.txt", 200))
}

// silent connects the victim during the fault, and has it send a request only when the server has closed the
// connection, or has not closed it for half a second: an event loop watches only clients that make it wait.
func silent(t *trial) string {
	var err error
	if t.victim, err = t.dial(); err != nil {
		return err.Error()
	}
	_ = t.victim.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = t.victim.r.Peek(1)
	return seen(t.victim.get("/plain.txt", 200))
}

// waits connects the victim during the fault. It must not be accepted.
func waits(t *trial) string {
	var err error
	if t.victim, err = t.dial(); err != nil {
		return err.Error()
	}
	t.victim.send(wire.Request("GET", "/plain.txt", ""))
	_ = t.victim.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := t.victim.r.Peek(1); err == nil {
		// An accept(2) that waited already when the fault began may still succeed.
		return "**a client is answered although accept fails**"
	}
	return "new clients wait until the error is gone"
}

// answered has a victim that waited read its response.
func answered(t *trial) string { return seen(t.victim.read(200)) }

// ends connects the victim during the fault, which must end the server.
func ends(t *trial) string {
	t.victim, _ = t.dial()
	if _, _, ok := t.server.Wait(patience); !ok {
		return "**the server does not end**"
	}
	return ""
}

// uncached makes a file that is not in the cache, and has the victim request it.
func uncached(t *trial) string {
	name, err := t.root.Write(".txt", []byte("not in the cache\n"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.Remove(t.root.Path(name)) }()
	return seen(t.victim.get("/"+name, 200))
}

// expects has the victim announce a body and wait for 100 Continue.
func expects(t *trial) string {
	t.victim.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	_ = t.victim.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := t.victim.r.Peek(1); err == nil {
		t.victim.send("ok")
	}
	return seen(t.victim.read(200))
}

// cutOff waits until the server has closed the victim, which reads nothing.
func cutOff(t *trial) string {
	if !gone(t) {
		return "**the connection stays open**"
	}
	return "that connection is closed after --write-timeout"
}

// halfClosed has the victim end its stream and read the response late.
func halfClosed(t *trial) string {
	_ = t.victim.conn.CloseWrite()
	<-time.After(600 * time.Millisecond) // the server probes ten times within 100 ms, then every 250 ms
	return seen(t.victim.read(200))
}

// logs has the victim make requests whose lines in the access log may not be written.
func logs(t *trial) string {
	before := t.server.Stdout.Len()
	if got := t.victim.get("/plain.txt", 200); got != "" {
		return got
	}
	if t.server.Stdout.Await(300*time.Millisecond, func(out string) bool { return strings.Contains(out[before:], "/plain.txt") }) {
		return nothing
	}
	return "the answer comes, the line in the log does not"
}

// logsAgain waits for the line of a request after the fault.
func logsAgain(t *trial) string {
	t.victim.close() // in stage 1, the next client waits for this
	before := t.server.Stdout.Len()
	c, err := t.dial()
	if err != nil {
		return err.Error()
	}
	defer c.close()
	if got := c.get("/k.txt", 200); got != "" {
		return got
	}
	if !t.server.Stdout.Await(patience, func(out string) bool { return strings.Contains(out[before:], "/k.txt") }) {
		return "a request has no line in the log"
	}
	return nothing
}

// stops sends SIGTERM, and returns how the server ends.
func stops(t *trial) string {
	begun := time.Now()
	t.server.Signal(syscall.SIGTERM)
	state, status, ok := t.server.Wait(8 * time.Second)
	switch {
	case !ok:
		return "**the server does not stop**"
	case status != 0:
		return "the server ends: " + state
	case !strings.HasSuffix(t.server.Stdout.String(), ": stopped\n"):
		return "the server stops with status 0, and its last line is missing"
	case time.Since(begun) > 4*time.Second:
		return "the stop takes the whole grace of 5 s; status 0"
	}
	return nothing
}
