package sock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newEpoll(t *testing.T) *Epoll {
	t.Helper()
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(e.fd) })
	return e
}

// wantEvent checks that there is exactly one event now, or none for tag 0.
func wantEvent(t *testing.T, e *Epoll, tag uint64, bits uint32) {
	t.Helper()
	var events [4]unix.EpollEvent
	n, err := e.Wait(events[:], 0)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case tag == 0 && n == 0:
	case n != 1 || Tag(&events[0]) != tag || events[0].Events != bits:
		t.Errorf("events %v, want %#x with tag %#x", events[:n], bits, tag)
	}
}

func TestEpoll(t *testing.T) {
	const tag = 0xFEDC_BA98_8765_4321 // both halves have their sign bit set
	a, b := pair(t, true)
	e := newEpoll(t)
	if err := e.Add(a.FD(), unix.EPOLLIN, tag); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 0, 0)
	mustSend(t, &b, "x")
	wantEvent(t, e, tag, unix.EPOLLIN)
	wantEvent(t, e, tag, unix.EPOLLIN) // level-triggered: again until it is read
	if err := e.Mod(a.FD(), unix.EPOLLOUT, tag+1); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, tag+1, unix.EPOLLOUT)
	if err := e.Mod(a.FD(), unix.EPOLLIN|unix.EPOLLOUT, 7); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 7, unix.EPOLLIN|unix.EPOLLOUT)
	wantCall(t, e.Add(a.FD(), unix.EPOLLIN, 1), "epoll_ctl", unix.EEXIST)
	if err := e.Del(a.FD()); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 0, 0)
	wantCall(t, e.Del(a.FD()), "epoll_ctl", unix.ENOENT)
	wantCall(t, e.Mod(a.FD(), unix.EPOLLIN, 1), "epoll_ctl", unix.ENOENT)
	wantCall(t, e.Add(-1, unix.EPOLLIN, 1), "epoll_ctl", unix.EBADF)
}

// TestWatch changes what a set watches for one connection, and wants each of these changes to
// take effect.
func TestWatch(t *testing.T) {
	a, b := pair(t, true)
	other, _ := pair(t, true)
	e := newEpoll(t)
	mustSend(t, &b, "x")
	var w Watched
	for _, tt := range []struct {
		fd     int
		events uint32
		tag    uint64 // of the event; 0 if there is none
		bits   uint32
	}{
		{a.FD(), unix.EPOLLIN, 9, unix.EPOLLIN},
		{a.FD(), unix.EPOLLIN, 9, unix.EPOLLIN},
		{a.FD(), unix.EPOLLOUT, 9, unix.EPOLLOUT},
		{other.FD(), unix.EPOLLIN, 0, 0}, // has nothing to read
		{other.FD(), unix.EPOLLOUT, 9, unix.EPOLLOUT},
		{-1, unix.EPOLLOUT, 0, 0},
		{-1, unix.EPOLLIN, 0, 0},
		{a.FD(), unix.EPOLLOUT, 9, unix.EPOLLOUT},
	} {
		if err := e.Watch(&w, tt.fd, tt.events, 9); err != nil {
			t.Fatal(err)
		}
		wantEvent(t, e, tt.tag, tt.bits)
	}
	e.Unwatch(&w)
	wantEvent(t, e, 0, 0)
	e.Unwatch(&w)
	// A failure leaves w as it was, so the next call tries again.
	wantCall(t, e.Watch(&w, e.fd, unix.EPOLLIN, 9), "epoll_ctl", unix.EINVAL)
	if err := e.Watch(&w, a.FD(), unix.EPOLLIN, 9); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, e, 9, unix.EPOLLIN)
	if err := e.Del(a.FD()); err != nil { // without the knowledge of w
		t.Fatal(err)
	}
	wantCall(t, e.Watch(&w, a.FD(), unix.EPOLLOUT, 9), "epoll_ctl", unix.ENOENT)
}

func TestEpollWait(t *testing.T) {
	e := newEpoll(t)
	var events [1]unix.EpollEvent
	begin := time.Now()
	for _, wait := range []time.Duration{5 * time.Millisecond, 20 * time.Millisecond} {
		for end := begin.Add(wait); time.Now().Before(end); { // a signal may end a wait early
			if n, err := e.Wait(events[:], time.Until(end)); n != 0 || err != nil {
				t.Errorf("Wait: %d, %v after %v", n, err, time.Since(begin))
			}
		}
	}
	end := storm(5 * time.Second)
	begin = time.Now()
	n, err := e.Wait(events[:], time.Minute)
	end()
	if n != 0 || err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("an interrupted Wait: %d, %v after %v; want 0 events, so that the caller computes its time-out again", n, err, time.Since(begin))
	}
	closed := &Epoll{fd: -1}
	for _, wait := range []time.Duration{0, time.Second} {
		_, err = closed.Wait(events[:], wait)
		wantCall(t, err, "epoll_wait", unix.EBADF)
	}
}

// Without a free descriptor, the error is EMFILE.
func TestNoDescriptors(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, errEventfd := NewEventfd()
	_, errEpoll := NewEpoll()
	_, errSocket := Socket(unix.AF_INET)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	wantCall(t, errEventfd, "eventfd", unix.EMFILE)
	wantCall(t, errEpoll, "epoll_create1", unix.EMFILE)
	wantCall(t, errSocket, "socket", unix.EMFILE)
}

func TestEventfd(t *testing.T) {
	f, err := NewEventfd()
	if err != nil {
		t.Fatal(err)
	}
	e := newEpoll(t)
	if err := e.Add(f.FD(), unix.EPOLLIN|unix.EPOLLET, 5); err != nil {
		t.Fatal(err)
	}
	for wakes := range 3 { // none, one, two
		for range wakes {
			if err := f.Wake(); err != nil {
				t.Fatal(err)
			}
		}
		if wakes > 0 {
			wantEvent(t, e, 5, unix.EPOLLIN)
		}
		wantEvent(t, e, 0, 0)
	}

	// From another thread, while this one waits.
	go f.Wake()
	var events [1]unix.EpollEvent
	for begin := time.Now(); ; {
		n, err := e.Wait(events[:], 10*time.Second)
		if err != nil || time.Since(begin) > 10*time.Second {
			t.Fatal("Wake does not end Wait: ", err)
		}
		if n == 1 { // 0 after a signal
			break
		}
	}
	if err := unix.Close(f.fd); err != nil {
		t.Fatal(err)
	}
	f = &Eventfd{-1}
	wantCall(t, f.Wake(), "write eventfd", unix.EBADF)
}

// TestForget checks that Forget takes only another descriptor than the connection's own out of the set.
func TestForget(t *testing.T) {
	e := newEpoll(t)
	own, peer := pair(t, true)
	other, otherPeer := pair(t, true)
	var w Watched
	e.Forget(&w, own.FD()) // nothing is watched
	for _, c := range []struct {
		watched, peer *Conn
		tag           uint64
	}{{&own, &peer, 7}, {&other, &otherPeer, 0}} {
		if err := e.Watch(&w, c.watched.FD(), unix.EPOLLIN, 7); err != nil {
			t.Fatal(err)
		}
		mustSend(t, c.peer, "x")
		e.Forget(&w, own.FD())
		wantEvent(t, e, c.tag, unix.EPOLLIN)
	}
}
