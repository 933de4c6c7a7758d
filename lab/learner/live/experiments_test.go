package live

import "testing"

// TestJudge checks that the right answer comes from what was observed.
func TestJudge(t *testing.T) {
	answered := func(stages ...int) (f findings) {
		for _, n := range stages {
			f.answered[n] = true
		}
		return f
	}
	taken := func(n ...int64) (f findings) { copy(f.taken[1:], n); return f }
	threads := func(n int, served bool) (f findings) {
		f.threads[4], f.answered[4] = n, served
		return f
	}
	for _, row := range []struct {
		id   string
		f    findings
		want int
	}{
		{"half", answered(2, 3, 4), 1},
		{"half", answered(1, 2, 3, 4), 0},
		{"half", answered(3), -1},
		{"pool", answered(4), 2},
		{"pool", answered(), 3},
		{"pool", answered(2, 3, 4), 1},
		{"ipv6", answered(3, 4), 1},
		{"ipv6", answered(), 3},
		{"unread", taken(0, 0, 0, 0), 0},
		{"unread", taken(3<<20, 4<<20, 3<<20, 3<<20), 1},
		{"unread", taken(largeSize, largeSize, largeSize, largeSize), 2},
		{"unread", taken(3<<20, 0, 3<<20, 3<<20), -1},
		{"crowd", threads(crowd, true), 0},
		{"crowd", threads(eventLoops, true), 1},
		{"crowd", threads(eventLoops, false), 2},
		{"crowd", threads(pool, false), 3},
		{"crowd", threads(7, true), -1},
	} {
		e := experimentOf(row.id)
		if got := e.judge(&row.f); got != row.want {
			t.Errorf("%s: choice %d fits %+v, want %d", row.id, got, row.f, row.want)
		}
	}
	for _, e := range experiments {
		if len(e.choices) < 3 || e.why == "" {
			t.Errorf("%s has %d choices, and explains %q", e.id, len(e.choices), e.why)
		}
	}
}

// TestInWords checks how places are summed up.
func TestInWords(t *testing.T) {
	at := func(n int, place, owner string) connView {
		return connView{group: group{N: n}, Place: place, Owner: owner}
	}
	for _, row := range []struct {
		conns []connView
		want  string
	}{
		{nil, "nowhere: it is done"},
		{[]connView{at(1, "thread", "thread 2")}, "has a thread"},
		{[]connView{at(1, "backlog", "backlog")}, "in the backlog"},
		{[]connView{at(1, "thread", "thread 1"), at(1, "thread", "thread 2"), at(5, "queue", "accepted, no thread"), at(93, "backlog", "backlog")}, "2 have a thread each, 5 accepted without a thread, 93 in the backlog"},
		{[]connView{at(1, "thread", "the thread"), at(3, "backlog", "backlog")}, "1 has a thread, 3 in the backlog"},
		{[]connView{at(50, "thread", "loop 1"), at(50, "thread", "loop 2")}, "50 in loop 1, 50 in loop 2"},
	} {
		if got := inWords(row.conns); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
