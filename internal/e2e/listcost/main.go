// Command listcost measures what it costs to list a bucket: CPU time, user and system, of the whole process that does it,
// per million keys. It runs our own listing, mc and the AWS CLI by turns against a store that costs next to nothing
// and runs as a process of its own.
//
//	STEVEDORE_MC=./mc go run ./internal/e2e/listcost -keys 1000000 -runs 5
//
// Each lists everything under a prefix and writes the keys to nowhere. Ours asks for one page after the other, as mc and
// the CLI do, and writes a row of a manifest per key.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"stevedore/internal/e2e/nullstore"
	"stevedore/internal/objectstore"
)

func main() {
	nullstore.MayServe()
	ctx := context.Background()
	if len(os.Args) == 3 && os.Args[1] == "list" {
		if err := list(ctx, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "listcost:", err)
			os.Exit(1)
		}
		return
	}
	var m measurement
	flag.IntVar(&m.keys, "keys", 1_000_000, "keys that we and mc list")
	flag.IntVar(&m.awsKeys, "aws-keys", 50_000, "keys that the AWS CLI lists, which takes its time")
	flag.IntVar(&m.runs, "runs", 5, "rounds; the medians are printed last")
	flag.StringVar(&m.mc, "mc", cmp.Or(os.Getenv("STEVEDORE_MC"), "mc"), "the binary of mc; without it there is no comparison with mc")
	flag.StringVar(&m.aws, "aws", "aws", "the binary of the AWS CLI; likewise")
	flag.Parse()
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "listcost:", err)
		os.Exit(1)
	}
}

const bucket = "bucket"

// list lists the keys of the null store and writes them out: what is measured of ours.
func list(ctx context.Context, address string) error {
	store, err := objectstore.New(objectstore.Config{
		Endpoint: "http://" + address, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
	if err != nil {
		return err
	}
	defer store.Close()
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	q, page := objectstore.ListQuery{Bucket: bucket, Prefix: nullstore.Prefix}, new(objectstore.ListPage)
	for {
		if err := store.ListPage(ctx, q, page); err != nil {
			return err
		}
		for i := range page.Entries {
			row := append(out.AvailableBuffer(), bucket+","...)
			row = append(objectstore.AppendPath(row, page.Entries[i].Key), '\n')
			if _, err := out.Write(row); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return out.Flush()
		}
		q = page.Next(q)
	}
}

type measurement struct {
	keys, awsKeys, runs int
	mc, aws             string
}

// A contender is a program that lists.
type contender struct {
	name  string
	keys  int
	args  []string
	costs []float64 // CPU seconds per million keys
}

func (m *measurement) run(ctx context.Context) (err error) {
	store, err := nullstore.Start(ctx, nullstore.Config{Keys: m.keys})
	if err != nil {
		return err
	}
	defer store.Stop()
	small, err := nullstore.Start(ctx, nullstore.Config{Keys: m.awsKeys})
	if err != nil {
		return err
	}
	defer small.Stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "listcost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	environment := append(os.Environ(), "HOME="+home, "MC_CONFIG_DIR="+home, "MC_HOST_null=http://key:secret12@"+store.Address,
		"AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true")
	contenders := []*contender{{name: "stevedore", keys: m.keys, args: []string{self, "list", store.Address}}}
	if _, err := exec.LookPath(m.mc); err == nil {
		args := []string{m.mc, "ls", "--recursive", "null/" + bucket + "/" + nullstore.Prefix}
		contenders = append(contenders, &contender{name: "mc ls", keys: m.keys, args: args})
	}
	if _, err := exec.LookPath(m.aws); err == nil {
		args := []string{m.aws, "s3api", "list-objects-v2", "--endpoint-url", "http://" + small.Address, "--bucket", bucket, "--prefix", nullstore.Prefix}
		contenders = append(contenders, &contender{name: "aws s3api list-objects-v2", keys: m.awsKeys, args: args})
	}
	for i := range m.runs {
		for _, c := range contenders {
			if err := c.once(ctx, environment); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Printf("run %d: %s: %.2f CPU seconds per million keys\n", i+1, c.name, c.costs[i])
		}
	}
	ours := median(contenders[0].costs)
	for _, c := range contenders {
		fmt.Printf("median of %d runs: %s: %.2f CPU seconds per million keys, %.1f times ours\n", m.runs, c.name, median(c.costs), median(c.costs)/ours)
	}
	return nil
}

// once lists all keys and counts them on the way.
func (c *contender) once(ctx context.Context, environment []string) error {
	command := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	command.Env = environment
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	found := 0
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		found += strings.Count(scanner.Text(), "obj-")
	}
	if err := errors.Join(scanner.Err(), command.Wait()); err != nil {
		return fmt.Errorf("%w: %s", err, problems.String())
	}
	if found != c.keys {
		return fmt.Errorf("it listed %d keys, want %d", found, c.keys)
	}
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	c.costs = append(c.costs, cpu.Seconds()*1e6/float64(c.keys))
	return nil
}

func median(costs []float64) float64 {
	costs = slices.Sorted(slices.Values(costs))
	return costs[len(costs)/2]
}
