package tier

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// conn is a connection of a server to a Fake. The Fake's mutex guards open and questions.
type conn struct {
	*net.TCPConn
	questions int // questions so far
	open      int // questions without an answer

	writing sync.Mutex // guards what follows
	written int64      // bytes that the kernel has taken
}

// A Conn is a connection of a server to a Fake, for [Fake.Drop].
type Conn struct{ conn *conn }

// Close ends the connection and waits until the server's kernel knows. A server that uses the connection later
// gets a reset.
func (c *Conn) Close() {
	_ = c.conn.CloseWrite()
	c.awaitFIN()
	_ = c.conn.TCPConn.Close()
}

// HalfClose sends a FIN, waits until the server's kernel has it, and goes on to read.
func (c *Conn) HalfClose() {
	_ = c.conn.CloseWrite()
	c.awaitFIN()
}

// Reset ends the connection with a RST.
func (c *Conn) Reset() {
	_ = c.conn.SetLinger(0)
	_ = c.conn.TCPConn.Close()
}

// awaitFIN waits until the server's socket has got the FIN, or has been closed.
func (c *Conn) awaitFIN() {
	kernel.Eventually(process.Patience, func() bool {
		s, err := kernel.ServerEnd(c.conn)
		return err != nil || s.State != unix.BPF_TCP_ESTABLISHED
	})
}

// A Question is one pipelined exchange: the commands up to LRANGE or LTRIM.
type Question struct {
	Commands [][]string
	Number   int // of the questions on this connection, from 1

	fake     *Fake
	conn     *conn
	answered bool   // the Fake's mutex guards it
	reply    string // the right answer, once the commands are done; the Fake's mutex guards it
}

// complete reports whether the last command ends the question.
func (q *Question) complete() bool {
	n := len(q.Commands)
	return n > 0 && strings.ToUpper(q.Commands[n-1][0]) != "RPUSH"
}

// Post reports whether the question adds a note.
func (q *Question) Post() bool { return strings.ToUpper(q.Commands[0][0]) == "RPUSH" }

// Reply does the commands and returns the right answer. It does them once.
func (q *Question) Reply() string {
	f := q.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.reply != "" {
		return q.reply
	}
	for _, command := range q.Commands {
		q.reply += f.do(command)
	}
	return q.reply
}

// Answer sends the right answer.
func (q *Question) Answer() { q.Send(q.Reply()) }

// Send sends bytes as the answer.
func (q *Question) Send(raw string) {
	q.done()
	q.conn.put(raw)
}

// Drip sends bytes as the answer, each when the server has read the last one.
func (q *Question) Drip(raw string) {
	q.done()
	for i := range len(raw) {
		q.conn.put(raw[i : i+1])
		q.conn.awaitRead()
	}
}

// SendPieces sends the answer in two pieces, the second when the server has read the first.
func (q *Question) SendPieces(raw string, at int) {
	q.done()
	q.conn.put(raw[:at])
	q.conn.awaitRead()
	q.conn.put(raw[at:])
}

// Close closes the connection, after bytes that were sent as an answer, or without any.
func (q *Question) Close() { (&Conn{q.conn}).Close() }

// Reset resets the connection.
func (q *Question) Reset() { (&Conn{q.conn}).Reset() }

// done notes that the question is no longer open.
func (q *Question) done() {
	q.fake.mu.Lock()
	defer q.fake.mu.Unlock()
	if !q.answered {
		q.answered = true
		q.conn.open--
	}
}

func (c *conn) put(raw string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, _ := io.WriteString(c.TCPConn, raw) // a server that has given up may have closed
	c.written += int64(n)
}

// awaitRead waits until the server has read all bytes.
func (c *conn) awaitRead() {
	c.writing.Lock()
	defer c.writing.Unlock()
	kernel.Eventually(process.Patience, func() bool { return kernel.AllRead(c.TCPConn, c.written) })
}

// do does one command and returns its reply. The caller holds the mutex.
func (f *Fake) do(command []string) string {
	name := strings.ToUpper(command[0])
	switch {
	case name == "RPUSH" && len(command) > 2:
		f.list = append(f.list, command[2:]...)
		return fmt.Sprintf(":%d\r\n", len(f.list))
	case name == "LTRIM" && len(command) == 4:
		from, to := f.bounds(command[2], command[3])
		f.list = append([]string(nil), f.list[from:to]...)
		return "+OK\r\n"
	case name == "LRANGE" && len(command) == 4:
		from, to := f.bounds(command[2], command[3])
		return Array(f.list[from:to]...)
	}
	return fmt.Sprintf("-ERR unknown command %q\r\n", command)
}

// bounds returns the slice bounds for the first and the last index of a command. A negative index counts from the
// end of the list.
func (f *Fake) bounds(first, last string) (from, to int) {
	index := func(text string) int {
		i, err := strconv.Atoi(text)
		if err == nil && i < 0 {
			i += len(f.list)
		}
		return i
	}
	from = min(max(0, index(first)), len(f.list))
	to = min(max(from, index(last)+1), len(f.list))
	return from, to
}

// Array returns the RESP2 form of an array of bulk strings.
func Array(values ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(values))
	for _, v := range values {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(v), v)
	}
	return b.String()
}

var errNoCommand = errors.New("not a RESP2 array of bulk strings")

// readCommand reads a command in the form that clients use: an array of bulk strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in, '*')
	if err != nil || n < 1 || n > 1000 {
		return nil, errors.Join(errNoCommand, err)
	}
	command := make([]string, n)
	for i := range command {
		size, err := readLength(in, '$')
		if err != nil || size < 0 || size > 1<<20 {
			return nil, errors.Join(errNoCommand, err)
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		command[i] = string(word[:size])
	}
	return command, nil
}

// readLength reads a line of a type byte and a number.
func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	digits, ok := strings.CutSuffix(line, "\r\n")
	if !ok || digits == "" || digits[0] != kind {
		return 0, errNoCommand
	}
	return strconv.Atoi(digits[1:])
}
