// Package tier holds the other tier of a test: the database that a server asks for its notes. A [Fake] listens on
// loopback and speaks the Redis protocol (RESP2). It answers from memory, or does what the [Script] of a case
// says: it answers late, in pieces or wrongly, or it closes. A [Redis] is a real redis-server or valkey-server.
package tier

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// A Fake is a Redis server with one list, whose behaviour a test scripts. All methods may be called at any time.
type Fake struct {
	port int

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	script   Script
	list     []string // the values of the key notes, the oldest first
	conns    map[*conn]bool
	most     int // the largest number of connections at the same time
	opened   int // the number of connections so far
	overlaps int // questions that came on a connection whose last question was not answered
	asked    []*Question
}

// A Script does something with a question: it calls one or several of the question's methods. A Script that calls
// none leaves the question without an answer. Each connection has a goroutine that calls the Script.
type Script func(q *Question)

// NewFake starts a Fake that answers every question rightly.
func NewFake() (*Fake, error) {
	l, port, err := process.ListenFree()
	if err != nil {
		return nil, err
	}
	f := &Fake{port: port, conns: map[*conn]bool{}}
	f.start(l)
	return f, nil
}

// Port returns the TCP port on 127.0.0.1.
func (f *Fake) Port() int { return f.port }

// URL returns the value for the flag --notes.
func (f *Fake) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", f.port) }

// Listen accepts connections, after Refuse.
func (f *Fake) Listen() error {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	f.start(l)
	return nil
}

// start begins to accept the connections of l.
func (f *Fake) start(l net.Listener) {
	f.mu.Lock()
	f.listener = l
	f.mu.Unlock()
	go f.accept(l)
}

// Refuse closes the listening socket, so that the kernel refuses further connections, and closes the connections.
func (f *Fake) Refuse() {
	f.mu.Lock()
	l := f.listener
	f.listener = nil
	f.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	f.Drop((*Conn).Close)
}

// Close ends the Fake.
func (f *Fake) Close() { f.Refuse() }

// Drop closes all connections, each by the function close.
func (f *Fake) Drop(close func(*Conn)) {
	f.mu.Lock()
	var all []*Conn
	for c := range f.conns {
		all = append(all, &Conn{c})
	}
	f.mu.Unlock()
	for _, c := range all {
		close(c)
	}
}

// Does sets what the Fake does with further questions. nil stands for the right answers.
func (f *Fake) Does(s Script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = s
}

// Hold keeps the answers to further questions back until Release, or Question.Answer.
func (f *Fake) Hold() { f.Does(func(*Question) {}) }

// Release answers the questions that wait, the oldest first, and all further ones.
func (f *Fake) Release() {
	f.Does(nil)
	for _, q := range f.Waiting() {
		q.Answer()
	}
}

// Waiting returns the questions that have got no answer and whose connections are open, in the order of arrival.
func (f *Fake) Waiting() []*Question {
	f.mu.Lock()
	defer f.mu.Unlock()
	var waiting []*Question
	for _, q := range f.asked {
		if !q.answered && f.conns[q.conn] {
			waiting = append(waiting, q)
		}
	}
	return waiting
}

// Asked returns all questions so far, in the order of arrival.
func (f *Fake) Asked() []*Question {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// Put appends values to the list.
func (f *Fake) Put(values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, values...)
}

// List returns the values of the list, the oldest first.
func (f *Fake) List() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// Clear empties the list.
func (f *Fake) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// A Count is what a Fake has counted.
type Count struct {
	Open     int // connections that are open
	Opened   int // connections so far
	Most     int // the largest number of connections that were open at the same time
	Overlaps int // questions that came on a connection before the answer to the last one
}

// Count returns the counts so far.
func (f *Fake) Count() Count {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Count{len(f.conns), f.opened, f.most, f.overlaps}
}

// Holds reports whether the server's end of a connection to the Fake is the socket with this inode.
func (f *Fake) Holds(inode uint32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if s, err := kernel.ServerEnd(c.TCPConn); err == nil && s.Inode == inode {
			return true
		}
	}
	return false
}

func (f *Fake) accept(l net.Listener) {
	for {
		s, err := l.Accept()
		if err != nil {
			return // by Refuse
		}
		c := &conn{TCPConn: s.(*net.TCPConn)}
		f.mu.Lock()
		f.opened++
		f.conns[c] = true
		f.most = max(f.most, len(f.conns))
		f.mu.Unlock()
		go f.serve(c)
	}
}

// serve reads the questions of a connection until it ends.
func (f *Fake) serve(c *conn) {
	defer func() {
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
		_ = c.TCPConn.Close()
	}()
	in := bufio.NewReader(c)
	for {
		q := &Question{fake: f, conn: c}
		for !q.complete() {
			command, err := readCommand(in)
			if err != nil {
				return
			}
			q.Commands = append(q.Commands, command)
		}
		f.mu.Lock()
		c.questions++
		q.Number = c.questions
		if c.open > 0 {
			f.overlaps++
		}
		c.open++
		f.asked = append(f.asked, q)
		script := f.script
		f.mu.Unlock()
		if script == nil {
			script = (*Question).Answer
		}
		script(q)
	}
}
