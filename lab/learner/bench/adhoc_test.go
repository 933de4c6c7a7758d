package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"fourways.example/lab/learner/bench/load"
	"fourways.example/lab/learner/bench/servers"
)

func TestAdhoc(t *testing.T) {
	ctx := context.Background()
	w, err := servers.NewWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wrk, err := load.FindWrk(w.Dir())
	fmt.Println(wrk, err)
	m := &meter{wrk: wrk, run: time.Second, ready: 4 * time.Second}
	for _, k := range servers.Kinds {
		r, err := w.Start(ctx, k.Name)
		if err != nil {
			_, missing := errors.AsType[*servers.ErrMissing](err)
			fmt.Println(k.Name, missing, err)
			continue
		}
		fmt.Println(k.Name, r.Version)
		for i := range workloads {
			wl := &workloads[i]
			if !k.Runs(wl.name) {
				continue
			}
			if err := check(ctx, r, wl); err != nil {
				fmt.Println(k.Name, wl.name, err)
				continue
			}
			if !wl.own {
				s, err := m.byWrk(ctx, r, wl)
				fmt.Printf("%-10s %-12s %+v %v\n", k.Name, wl.name, s, err)
			}
			s, err := m.byOwn(ctx, r, wl)
			fmt.Printf("%-10s %-12s %+v %v\n", k.Name, wl.name, s, err)
		}
		w.Stop(r)
	}
}
