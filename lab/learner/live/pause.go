package live

import (
	"errors"
	"fmt"
	"strings"
)

// pause gives the answer and then waits until the reader wants to go on, so that what was observed stays in sight. It
// reports false if the reader has left instead.
func (t *trial) pause(note string) bool {
	more := make(chan struct{})
	t.mu.Lock()
	t.more, t.note = more, note
	t.right, t.judged = t.e.judge(&t.found), true
	t.mu.Unlock()
	select {
	case <-t.ctx.Done():
		return false
	case <-more:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.left
}

// proceed ends a pause. With leave the rest of the experiment is left out.
func (t *trial) proceed(leave bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more == nil {
		return
	}
	t.left = leave
	if leave {
		t.done = true
	}
	close(t.more)
	t.more = nil
}

// proceed goes on with an experiment that waits for the reader.
func (w *world) proceed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trial == nil {
		return errors.New("no experiment waits")
	}
	w.trial.proceed(false)
	return nil
}

// caveat names the servers with a bug that stand in place of stages, because the explanation is about the stages.
func caveat(stages []stageView) string {
	var all []string
	for _, v := range stages {
		if v.Pitfall != "" {
			all = append(all, fmt.Sprintf("the bug %s in place of stage %d", v.Pitfall, v.N))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "With " + list(all) + "."
}

// list joins words as a sentence does: "a, b and c".
func list(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
