package main

import (
	"os"
	"time"

	"fourways.example/common/cli"
)

// stage is the name of this server and the defaults of its flags. Nothing else in main.go
// differs between the stages.
var stage = cli.Stage{Name: "stage4-epoll", Workers: cli.PerCPU, Idle: 60 * time.Second, Bind: true, Defer: true, LoopFiles: 2}

func main() {
	cfg := cli.Parse(stage, os.Args[1:])
	listeners, err := Listen(cfg)
	if err != nil {
		cfg.Fatal(err)
	}
	go cfg.Stop.OnSignal(listeners)
	go cfg.ReturnMemory()
	cfg.Started(listeners)
	cfg.Exit(Serve(listeners, cfg))
}
