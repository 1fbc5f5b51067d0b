#!/usr/bin/env bash
# Every check of the deploy files that works without a network, a cluster or a Docker daemon.
#
#   deploy/lint.sh            run what is installed, name what is not
#   deploy/lint.sh --strict   a missing tool is a failure, too
#
# Exit code 1 if a linter found something. docs/deploy.md says where each tool comes from.
set -uo pipefail
cd "$(dirname "$0")" || exit 2
export LC_ALL=C

strict=no
case "${1-}" in
    '') ;;
    --strict) strict=yes ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0 skipped=0
# What these files run.
binary=${COUNTERSIGN:-../target/debug/countersign}

# check NAME COMMAND…: silent if it holds, else with all that the command said.
check() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what"
        printf '%s\n' "$said" | sed 's/^/        /'
    fi
}

# have TOOL WHAT: false, with a word about it, if the tool is missing.
have() {
    command -v "$1" >/dev/null 2>&1 && return
    skipped=$((skipped + 1))
    echo "skipped $2: $1 is not installed"
    return 1
}

# refused NAME COMMAND…: the command must fail.
refused() {
    local what=$1
    shift
    if "$@" >"$scratch/refused" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED  $what: was accepted"
    else
        passed=$((passed + 1))
        echo "ok      $what is refused"
    fi
}

# silent COMMAND…: systemd warns of what it can't read and goes on; here a warning is a finding.
silent() {
    local said
    said=$("$@" 2>&1) && [ -z "$said" ] && return
    printf '%s\n' "$said"
    return 1
}

have shellcheck 'this script' && check 'shellcheck lint.sh' shellcheck lint.sh

have hadolint 'Dockerfile' && check 'hadolint Dockerfile' hadolint Dockerfile

# takes FILE FIRST: the server takes the configuration, as far as the first file that it names
# and that is not here.
takes() {
    local said
    said=$("$binary" serve --config "$1" 2>&1)
    printf '%s\n' "$said"
    grep -q "$2: No such file" <<<"$said"
}

# The plugin of docker, or the program by itself.
compose() {
    if command -v docker-compose >/dev/null 2>&1; then docker-compose "$@"; else docker compose "$@"; fi
}
if command -v docker-compose >/dev/null 2>&1 || docker compose version >/dev/null 2>&1; then
    check 'compose config' compose --file compose.yaml --profile '*' config --quiet
else
    skipped=$((skipped + 1))
    echo 'skipped compose.yaml: neither docker compose nor docker-compose is installed'
fi

# With what its comments hold, too.
sed 's/^# \(\[witnesses\]\|policy = \)/\1/' compose/countersign.toml >"$scratch/compose.toml"
[ -x "$binary" ] && check 'countersign.toml of compose' takes "$scratch/compose.toml" lab-a.example.vkey

if have systemd-analyze 'systemd/countersign.service'; then
    # `verify` looks for the program, which is not installed here: any will do.
    sed 's#^ExecStart=/usr/bin/countersign#ExecStart=/bin/true#' systemd/countersign.service \
        >"$scratch/countersign.service"
    check 'systemd-analyze verify' silent systemd-analyze verify --man=no \
        "$scratch/countersign.service"
    check 'systemd-analyze security' systemd-analyze security --offline=true --threshold=20 \
        --no-pager "$scratch/countersign.service"
fi
if have systemd-sysusers 'systemd/countersign.sysusers.conf'; then
    check 'systemd-sysusers --dry-run' systemd-sysusers --root="$scratch" --dry-run \
        "$PWD/systemd/countersign.sysusers.conf"
fi
if have systemd-tmpfiles 'systemd/countersign.tmpfiles.conf'; then
    mkdir "$scratch/root"
    check 'systemd-tmpfiles --create' silent systemd-tmpfiles --root="$scratch/root" --create \
        "$PWD/systemd/countersign.tmpfiles.conf"
fi

if have promtool 'prometheus'; then
    check 'promtool check rules' promtool check rules prometheus/alerts.yaml
    check 'promtool check config' promtool check config prometheus/prometheus.yaml
    check 'promtool test rules' promtool test rules prometheus/alerts.test.yaml
    # Grafana's variables are no PromQL: ones of the right kind take their place.
    dashboard() {
        python3 - grafana/dashboard.json >"$scratch/dashboard.yaml" <<'PYTHON' || return 1
import json, sys

rules = []
def walk(value):
    if isinstance(value, dict):
        if "expr" in value:
            expr = value["expr"]
            for name in ("$__rate_interval", "$__range"):
                expr = expr.replace(name, "5m")
            rules.append({"record": f"panel:{len(rules)}", "expr": expr})
        for inner in value.values():
            walk(inner)
    elif isinstance(value, list):
        for inner in value:
            walk(inner)
walk(json.load(open(sys.argv[1])))
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
        promtool check rules "$scratch/dashboard.yaml"
    }
    have python3 'expressions of grafana/dashboard.json' &&
        check 'promtool check rules, the expressions of the dashboard' dashboard
    # The metrics themselves, from a server that listens on loopback for as long as this takes.
    # promtool reads the older text format, in which a counter's help bears the sample's name; that
    # the server's own format holds, the tests in tests/it/metrics.rs check.
    scrape() {
        local server url
        "$binary" --json serve --data "$scratch/log" --listen 127.0.0.1:0 --http 127.0.0.1:0 \
            >"$scratch/said" 2>"$scratch/server.log" &
        server=$!
        for _ in $(seq 100); do
            [ -s "$scratch/said" ] && break
            sleep 0.1
        done
        url=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$scratch/said")
        curl --silent --show-error --fail --max-time 10 "${url}metrics" >"$scratch/openmetrics"
        kill "$server" && wait "$server"
    }
    metrics() {
        scrape || return 1
        awk '/^# EOF$/ { next }
            /^# HELP / { help = $0; next }
            /^# TYPE / {
                name = $3; kind = $4
                if (kind == "counter") name = name "_total"
                if (kind == "info") { name = name "_info"; kind = "gauge" }
                sub(/^# HELP [^ ]+/, "# HELP " name, help)
                print help; print "# TYPE " name " " kind; next
            }
            { print }' "$scratch/openmetrics" | promtool check metrics
    }
    if [ -x "$binary" ] && have curl '/metrics'; then
        check 'promtool check metrics' metrics
    else
        skipped=$((skipped + 1))
        echo "skipped /metrics: needs $binary (cargo build, or set COUNTERSIGN)"
    fi
fi

if have helm 'helm/countersign'; then
    # A helm that was built from source has no idea of a current Kubernetes.
    kubernetes=(--kube-version 1.33.0)
    for values in helm/countersign/ci/*.yaml; do
        name=$(basename "$values" .yaml)
        check "helm lint, $name" helm lint --strict --quiet "${kubernetes[@]}" --values "$values" \
            helm/countersign
        render() {
            helm template log helm/countersign "${kubernetes[@]}" --namespace logs \
                --values "$values" >"$scratch/$name.yaml"
        }
        check "helm template, $name" render
        # Reads manifests from standard input and fails at a field that Kubernetes doesn't know.
        decode() { strictdecode <"$scratch/$name.yaml"; }
        have strictdecode "fields of the manifests, $name" && check "strict decoding, $name" decode
        # The server takes the configuration, as far as the first file that is not here.
        configuration() {
            mkdir -p "$scratch/$name"
            sed -n '/^  countersign.toml: |$/,/^  [^ ]/p' "$scratch/$name.yaml" |
                sed -n 's/^    //p' >"$scratch/$name/countersign.toml"
            [ -s "$scratch/$name/countersign.toml" ] || return 1
            takes "$scratch/$name/countersign.toml" party-0.vkey
        }
        [ -x "$binary" ] && check "countersign.toml of the chart, $name" configuration
    done
    refused 'helm template without an origin' \
        helm template log helm/countersign "${kubernetes[@]}" --set publicRead=true
    refused 'helm template where nobody could read' \
        helm template log helm/countersign "${kubernetes[@]}" --set origin=log.example/x
    if have strictdecode 'that it finds a misspelt field'; then
        misspelt() {
            sed 's/readinessProbe:/readinesProbe:/' "$scratch/public.yaml" >"$scratch/misspelt"
            # Without the mistake in it, to be refused would prove nothing.
            ! grep -q readinesProbe "$scratch/misspelt" || strictdecode <"$scratch/misspelt"
        }
        refused 'strict decoding of a misspelt field' misspelt
    fi
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
[ "$strict" = no ] || [ "$skipped" -eq 0 ]
