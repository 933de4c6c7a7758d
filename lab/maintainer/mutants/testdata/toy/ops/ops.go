// Package ops has code for each operator. mutants.golden lists its mutants.
package ops

import (
	"errors"
	"fmt"
)

const (
	size  = 16 << 10
	limit = 0x1F
)

var errOps = errors.New("ops")

type list[T any] struct{ items []T }

func (l *list[T]) push(x T) { l.items = append(l.items, x) }

func conditions(a, b int, ok bool) string {
	if a == b {
		return "equal"
	}
	if ok && a < b {
		return "less"
	}
	if !ok {
		return "not"
	}
	switch {
	case ok:
		return "ok"
	case a >= limit:
		return "many"
	}
	for {
		if f(a) {
			break
		}
	}
	return fmt.Sprint(a == b || ok, a != b)
}

func f(a int) bool { return a > -1 }

func statements(l *list[int]) (n int) {
	x := 1 // declarations are not dropped
	x = 2
	n += x
	n++
	defer l.push(1)
	l.push(
		2,
	)
	l.push(2)
	l.push(2)
	var unused int
	unused = 3
	_ = unused // dropping this statement leaves unused without a use
	switch n {
	case 4:
		n--
	}
	return n
}

func arguments(to, from []byte, s string) {
	copy(to, from)
	copy(to, s)
	copy(to, to)
	_ = max(len(to), len(from))
	fmt.Println(
		s,
		"several lines",
	)
	_ = append(to, from...)
	_ = append(to, 'a', 'b')
}

func results(n int) (int, error) {
	if n == size {
		return 0, errOps
	}
	_ = func() error { return errOps }
	if n == 1 {
		return results(2)
	}
	return n, nil
}
