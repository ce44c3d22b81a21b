"""Mistakes in the configuration: one line each, with file, line, key, what was found and what is allowed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from controller.config.loading import from_bytes
from controller.config.plugins import AUTO
from controller.config.problem import ConfigError
from controller.config.relations import timing_problems
from controller.stores.registry import known_stores
from providers.registry import known_providers

HEAD = """\
cluster: shop
node: n1
store: {type: file, path: /var/lib/anyvip/store}
"""
GROUP = """\
groups:
  web:
    vips: ["10.77.0.100/24"]
"""
GOOD = HEAD + GROUP

NAMES = "1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends"
VIP = "an IPv4 or IPv6 address with prefix length, such as 10.0.0.5/24"
REACHABLE = "an address that clients can reach: not multicast, loopback, unspecified or IPv4-mapped"
LISTEN = 'an IP address and a port, such as "0.0.0.0:9010" or "[::]:9010"'
ARGV = "a list: the program and its arguments, each a string (there is no shell)"
PATH = "a path that begins with '/', without '?', '#' and blanks, at most 200 characters"
TOP = "admin, cluster, data_dir, groups, health, lease, node, reconcile, state_dir, store"
STORES = ", ".join(known_stores())
PROVIDERS = ", ".join((AUTO, *known_providers()))
IN_GROUP = "checks, health_path, hooks, preempt, preempt_delay_seconds, priority, providers, vips"


def complaints(text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as caught:
        from_bytes(content, "anyvip.yml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    return lines


def complaint(text: str | bytes) -> str:
    lines = complaints(text)
    assert len(lines) == 1, lines
    return lines[0]


def test_the_text_that_the_cases_are_made_of_is_right() -> None:
    assert from_bytes(GOOD.encode(), "anyvip.yml").cluster == "shop"


@pytest.mark.parametrize(
    ("vip", "allowed"),
    [
        ('"10.77.0.300/24"', VIP),
        ('"10.77.0.5"', VIP),
        ('"10.77.0.5/33"', VIP),
        ('"10.77.0.5/255.255.255.0"', VIP),
        ('"10.77.0.5/024"', VIP),
        ('"10.77.0.5/"', VIP),
        ('"fd00::1/129"', VIP),
        ('"fe80::1%eth0/64"', VIP),
        ('"web.example/24"', VIP),
        ('""', VIP),
        ("10", VIP),
        ("true", VIP),
        ("a mapping", VIP),
        ('"10.77.0.0/24"', "the address of a host; this is the address of the network 10.77.0.0/24 itself"),
        ('"10.77.0.255/24"', "the address of a host; this is the address of the network 10.77.0.0/24 itself"),
        ('"fd00::/64"', "the address of a host; this is the address of the network fd00::/64 itself"),
        ('"224.0.0.18/24"', REACHABLE),
        ('"127.0.0.2/8"', REACHABLE),
        ('"0.0.0.0/0"', REACHABLE),
        ('"ff02::1/64"', REACHABLE),
        ('"::1/128"', REACHABLE),
        ('"::ffff:10.0.0.1/96"', REACHABLE),
    ],
)
def test_a_vip_that_is_not_an_address(vip: str, allowed: str) -> None:
    written = "{a: 1}" if vip == "a mapping" else vip
    found = complaint(HEAD + f"groups:\n  web:\n    vips:\n      - 10.77.0.1/24\n      - {written}\n")
    assert found == f"anyvip.yml:8: groups.web.vips[1]: found {vip}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # unknown keys, at every depth, and in plugins and checks
        ("nod: n2\n" + GOOD, f'1: nod: found unknown key "nod"; allowed: {TOP}; did you mean "node"?'),
        ("xyzzy: 1\n" + GOOD, f'1: xyzzy: found unknown key "xyzzy"; allowed: {TOP}'),
        (
            GOOD + "    priorty: 5\n",
            f'7: groups.web.priorty: found unknown key "priorty"; allowed: {IN_GROUP}; did you mean "priority"?',
        ),
        (
            GOOD + "    Priority: 5\n",
            f'7: groups.web.Priority: found unknown key "Priority"; allowed: {IN_GROUP}; did you mean "priority"?',
        ),
        (
            GOOD + "lease:\n  duration: 3\n",
            (
                '8: lease.duration: found unknown key "duration"; allowed: clock_drift, duration_seconds, '
                'renew_deadline_seconds, retry_period_seconds; did you mean "duration_seconds"?'
            ),
        ),
        (
            GOOD.replace("path:", "pth:"),
            '3: store.pth: found unknown key "pth"; allowed: path, type; did you mean "path"?',
        ),
        (
            GOOD + "    checks:\n      app:\n        type: tcp\n        target: 127.0.0.1:80\n        fal: 2\n",
            (
                '11: groups.web.checks.app.fal: found unknown key "fal"; allowed: fall, interval_seconds, rise, target, '
                'timeout_seconds, type; did you mean "fall"?'
            ),
        ),
        # missing keys
        (GOOD.replace("cluster: shop\n", ""), f"1: cluster: found nothing; allowed: {NAMES} (required)"),
        (HEAD, "1: groups: found nothing; allowed: a mapping (required)"),
        (HEAD + "groups: {}\n", "4: groups: found an empty mapping; allowed: at least one"),
        (HEAD + "groups:\n  web: {}\n", f"5: groups.web.vips: found nothing; allowed: a list of: {VIP} (required)"),
        (HEAD + "groups:\n  web: {vips: []}\n", "5: groups.web.vips: found an empty list; allowed: at least one"),
        (HEAD + "groups:\n  web:\n", "5: groups.web: found nothing; allowed: a mapping"),
        (GOOD.replace("type: file, ", ""), f"3: store.type: found nothing; allowed: {STORES} (required)"),
        (
            GOOD + "    checks: {app: {target: ':1'}}\n",
            "7: groups.web.checks.app.type: found nothing; allowed: command, ",
        ),
        # wrong types: nothing is converted
        (GOOD.replace("cluster: shop", "cluster: 5"), f"1: cluster: found 5; allowed: {NAMES}"),
        (GOOD.replace("node: n1", "node: [n1]"), f"2: node: found a list; allowed: {NAMES}"),
        (
            GOOD.replace("{type: file, path: /var/lib/anyvip/store}", "etcd"),
            '3: store: found "etcd"; allowed: a mapping',
        ),
        (GOOD + "    priority: '5'\n", '7: groups.web.priority: found "5"; allowed: an integer from 0 to 255'),
        (GOOD + "    priority: 5.5\n", "7: groups.web.priority: found 5.5; allowed: an integer from 0 to 255"),
        (GOOD + "    priority: true\n", "7: groups.web.priority: found true; allowed: an integer from 0 to 255"),
        (GOOD + "    preempt: yes\n", '7: groups.web.preempt: found "yes"; allowed: true or false'),
        (GOOD + "    preempt: 1\n", "7: groups.web.preempt: found 1; allowed: true or false"),
        (
            GOOD + "    hooks: {promote: systemctl start app}\n",
            f'7: groups.web.hooks.promote: found "systemctl start app"; allowed: {ARGV}',
        ),
        (GOOD + "    hooks: {promote: [sleep, 5]}\n", "7: groups.web.hooks.promote[1]: found 5; allowed: a string"),
        (GOOD + "lease: 3\n", "7: lease: found 3; allowed: a mapping"),
        (
            GOOD + "health: {listen: 0.0.0.0:9010}\n",
            f'7: health.listen: found "0.0.0.0:9010"; allowed: a list of: {LISTEN}',
        ),
        (
            GOOD.replace('["10.77.0.100/24"]', "10.77.0.100/24"),
            f'6: groups.web.vips: found "10.77.0.100/24"; allowed: a list of: {VIP}',
        ),
        # values out of range
        (GOOD + "    priority: 256\n", "7: groups.web.priority: found 256; allowed: an integer from 0 to 255"),
        (GOOD + "    priority: -1\n", "7: groups.web.priority: found -1; allowed: an integer from 0 to 255"),
        (
            GOOD + "    preempt_delay_seconds: -1\n",
            "7: groups.web.preempt_delay_seconds: found -1; allowed: a number from 0 to 86400",
        ),
        (
            GOOD + "lease: {duration_seconds: 0.1}\n",
            "7: lease.duration_seconds: found 0.1; allowed: a number from 0.5 to 3600",
        ),
        (
            GOOD + "lease: {duration_seconds: .inf}\n",
            '7: lease.duration_seconds: found ".inf"; allowed: a number from 0.5 to 3600',
        ),
        (
            GOOD + "lease: {duration_seconds: 1e999}\n",
            "7: lease.duration_seconds: found Infinity; allowed: a number from 0.5 to 3600",
        ),
        (GOOD + "lease: {clock_drift: 0.5}\n", "7: lease.clock_drift: found 0.5; allowed: a number from 0 below 0.5"),
        (
            GOOD + "    hooks: {timeout_seconds: 0}\n",
            "7: groups.web.hooks.timeout_seconds: found 0; allowed: a number above 0 to 86400",
        ),
        (GOOD.replace("n1", '"n 1"'), f'2: node: found "n 1"; allowed: {NAMES}'),
        (GOOD.replace("n1", '"n\\n1"'), f'2: node: found "n\\n1"; allowed: {NAMES}'),
        (GOOD.replace("web:", "we/b:"), f'5: groups."we/b": found "we/b"; allowed: {NAMES}'),
        (
            GOOD + "state_dir: run/anyvip\n",
            '7: state_dir: found "run/anyvip"; allowed: the absolute path of a directory, such as /run/anyvip',
        ),
        (GOOD + "admin: {mode: 666}\n", '7: admin.mode: found 666; allowed: an octal mode in quotes, such as "0660"'),
        (
            GOOD + "admin: {mode: 0999}\n",
            '7: admin.mode: found "0999"; allowed: an octal mode in quotes, such as "0660"',
        ),
        *[
            (GOOD + f'health: {{listen: ["{listen}"]}}\n', f'7: health.listen[0]: found "{listen}"; allowed: {LISTEN}')
            for listen in (
                "0.0.0.0:0",
                "0.0.0.0:65536",
                "0.0.0.0",
                "::1:9010",
                "[10.0.0.1]:9010",
                "web:80",
                ":80",
                "[::]:x",
            )
        ],
        *[
            (GOOD + f'    health_path: "{path}"\n', f'7: groups.web.health_path: found "{path}"; allowed: {PATH}')
            for path in ("ready", "/a b", "/a?b", "/a#b", "//host/a", "")
        ],
        # plugins
        (GOOD.replace("type: file", "type: etdc"), f'3: store.type: found "etdc"; allowed: {STORES}'),
        (GOOD.replace("type: file", "type: [file]"), f"3: store.type: found a list; allowed: {STORES}"),
        (
            GOOD + "    providers: [{type: baremetall}]\n",
            f'7: groups.web.providers[0].type: found "baremetall"; allowed: {PROVIDERS}',
        ),
        (
            GOOD + "    checks: {app: {type: tpc}}\n",
            '7: groups.web.checks.app.type: found "tpc"; allowed: command, http, ping, tcp',
        ),
        (
            GOOD + "    providers: [{type: auto, interface: eth0}]\n",
            '7: groups.web.providers[0].interface: found unknown key "interface"; allowed: type',
        ),
        (
            GOOD.replace(
                "{type: file, path: /var/lib/anyvip/store}",
                "{type: etcd, endpoints: ['http://a:1'], user: a, password: 12345}",
            ),
            "3: store.password: found a secret; allowed: a string",
        ),
        (
            GOOD.replace(
                "{type: file, path: /var/lib/anyvip/store}",
                "{type: etcd, endpoints: ['https://a:1'], ca_file: /no/such}",
            ),
            '3: store.ca_file: found "/no/such"; allowed: the path of an existing file',
        ),
        # relations
        (
            GOOD + "lease:\n  duration_seconds: 3\n  renew_deadline_seconds: 2.95\n",
            (
                "9: lease: renew_deadline_seconds 2.95 is too long for duration_seconds 3: at most 2.891 "
                "(clock drift 0.01, kernel overshoot 0.05 s)"
            ),
        ),
        (
            GOOD + "lease:\n  retry_period_seconds: 1.5\n",
            "8: lease: retry_period_seconds 1.5 must be above 0 and below half of renew_deadline_seconds 2",
        ),
        (
            GOOD + "  db: {vips: ['10.77.0.100/32']}\n",
            '7: groups.db.vips[0]: found "10.77.0.100"; allowed: each address once (first in groups.web.vips[0])',
        ),
        (
            GOOD.replace('"10.77.0.100/24"', '"fd00::1/64", "fd00:0::1/64"'),
            '6: groups.web.vips[1]: found "fd00::1"; allowed: each address once (first in groups.web.vips[0])',
        ),
        (
            GOOD + 'health: {listen: ["[::1]:9010", "[0::1]:9010"]}\n',
            '7: health.listen[1]: found "[0::1]:9010"; allowed: each address and port once (first in health.listen[0])',
        ),
        *[
            (
                GOOD + f"    health_path: {path}\n",
                f'7: groups.web.health_path: found "{path}"; allowed: a path that is free; this one is the endpoint\'s own',
            )
            for path in ("/health", "/livez", "/readyz", "/metrics")
        ],
        (
            GOOD + "    health_path: /health/db\n  db: {vips: [10.77.0.101/24]}\n",
            '7: groups.web.health_path: found "/health/db"; allowed: a path that is free; this one is group db\'s',
        ),
        (
            GOOD + "    health_path: /up\n  db: {vips: [10.77.0.101/24], health_path: /up}\n",
            '8: groups.db.health_path: found "/up"; allowed: each path once (first in groups.web.health_path)',
        ),
        (
            GOOD + "    providers: [{type: auto}, {type: baremetal, interface: eth0}]\n",
            '7: groups.web.providers[0]: found "auto" beside other providers; allowed: auto alone, or only others',
        ),
        (
            GOOD + f"state_dir: /{'x' * 200}\n",
            f'7: state_dir: found "/{"x" * 95}...; allowed: at most 107 bytes, socket name (anyvip.sock) included; this is 213',
        ),
        # YAML
        ("", f"1: found an empty file; allowed: a mapping with the keys {TOP}"),
        ("# nothing\n", f"1: found an empty file; allowed: a mapping with the keys {TOP}"),
        ("- cluster\n", "1: found a list; allowed: a mapping"),
        (GOOD + "cluster: shop2\n", '7: cluster: found "cluster" a second time; allowed: once (first on line 1)'),
        (GOOD + "    vips: []\n", '7: groups.web.vips: found "vips" a second time; allowed: once (first on line 6)'),
        (GOOD + "\tlease: 3\n", "7: found a tab; allowed: spaces for indentation"),
        (GOOD + "---\na: 1\n", "7: found a second document; allowed: one"),
        (GOOD + "lease: {duration_seconds: 3\n", "8: found a syntax error ("),
        (GOOD + "lease: *none\n", "7: found a syntax error (found undefined alias 'none'); allowed: YAML"),
        (
            GOOD + "    hooks: &h {promote: *h}\n",
            "7: groups.web.hooks.promote: found an alias of a node that encloses it; ",
        ),
        (
            GOOD + "lease: !!python/name:os.system\n",
            '7: lease: found the tag "!!python/name:os.system"; allowed: plain values',
        ),
        (GOOD + "    priority: !!int x\n", '7: groups.web.priority: found "x"; allowed: a value of its tag !!int'),
        (GOOD.encode() + b"lease: \xff\n", "7: found the byte 0xff; allowed: UTF-8 text"),
        (GOOD + "lease: \0\n", '7: found "\\u0000"; allowed: printable text'),
        (GOOD.encode("utf-16"), "1: found the byte 0xff; allowed: UTF-8 text"),
    ],
)
def test_one_mistake_one_line(text: str | bytes, line: str) -> None:
    first, *_ = complaints(text)
    assert first.startswith(f"anyvip.yml:{line}")


def test_several_mistakes_several_lines_in_the_order_of_the_file() -> None:
    text = """\
cluster: shop
cluster: shop2
nod: n1
store: {type: file, path: /var/lib/anyvip/store}
lease:
  duration_seconds: "3"
groups:
  web:
    vips: [10.77.0.300/24, 10.77.0.1]
    priority: 999
  db:
    vips: ten
"""
    lines = complaints(text)
    assert [line.split(": ")[:2] for line in lines] == [
        ["anyvip.yml:2", "cluster"],
        ["anyvip.yml:3", "nod"],
        ["anyvip.yml:6", "lease.duration_seconds"],
        ["anyvip.yml:9", "groups.web.vips[0]"],
        ["anyvip.yml:9", "groups.web.vips[1]"],
        ["anyvip.yml:10", "groups.web.priority"],
        ["anyvip.yml:12", "groups.db.vips"],
    ]


def test_nesting_without_end_is_refused() -> None:
    assert complaint("[" * 1000) == "anyvip.yml: found nesting that is far too deep; allowed: a few levels"


def test_a_list_as_a_key_is_refused() -> None:
    assert complaints("? [a]\n: 1\n" + GOOD)[0] == "anyvip.yml:1: found a list or mapping as a key; allowed: text"


def test_a_lease_that_is_safe_with_the_guard_may_not_be_without() -> None:
    """Where the kernel ends addresses up to a second late, a lease of one second leaves no time to serve."""
    config = from_bytes((GOOD + "lease: {duration_seconds: 1}\n").encode(), "anyvip.yml")
    (problem,) = timing_problems(config, 1.0)
    assert str(problem) == (
        "anyvip.yml:7: lease.duration_seconds: found 1.0; allowed: more: "
        "clock drift 0.01 and kernel overshoot 1 s leave no time to serve"
    )


def test_the_hint_reads_well_for_another_authors_validator() -> None:
    """Plugins raise ValueError in their own words; those that repeat the value or begin with `must be` are trimmed."""
    found = complaint(GOOD.replace("/var/lib/anyvip/store", "store"))
    assert found.startswith('anyvip.yml:3: store.path: found "store"; allowed: an absolute path')


def test_a_mistake_loads_nobody_s_sdk() -> None:
    """Importing them takes seconds, and the file names none of them."""
    read = "import sys\nfrom controller.config.loading import ConfigError, from_bytes\n"
    tried = f"try: from_bytes({GOOD.replace('cluster', 'clutser').encode()!r}, 'x')\nexcept ConfigError as error: print(error)\n"
    loaded = "print(sorted({'boto3', 'botocore', 'azure', 'google'} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", read + tried + loaded], capture_output=True, text=True, check=True)
    assert 'did you mean "cluster"?' in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"
