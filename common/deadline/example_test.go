package deadline_test

import (
	"fmt"
	"time"

	"fourways.example/common/deadline"
)

func Example() {
	const idle, head, classes = 0, 1, 2
	type conn struct {
		name  string
		timer deadline.Entry[*conn]
	}
	timers := deadline.NewSet[*conn](classes)
	now := time.Now()
	for _, name := range []string{"a", "b", "c"} {
		c := &conn{name: name}
		c.timer.Value = c
		timers.Push(idle, &c.timer, now.Add(5*time.Second))
		if name == "b" { // a request begins
			timers.Push(head, &c.timer, now.Add(10*time.Second))
		}
	}
	fmt.Println(timers.Timeout(now))
	for e := range timers.Expired(now.Add(5 * time.Second)) {
		fmt.Println("too late:", e.Value.name)
	}
	fmt.Println(timers.Timeout(now))
	// Output:
	// 5s
	// too late: a
	// too late: c
	// 10s
}
