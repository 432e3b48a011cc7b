"""Reads a scrape with the parser of the Prometheus project, and holds alert rules and dashboards to it.

Usage: check.py SCRAPE ALERTS DASHBOARD...

Every expression has to parse as PromQL, and name only series, labels and values of labels that the scrape has. Prints, as JSON, the
labels of each sample with their values.
"""

import json
import sys

import promql_parser
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

# What Prometheus adds to each series itself.
ADDED = {"job", "instance", "le", "quantile", "__name__"}


def read_scrape(path):
    """The samples: for each name the labels, for each label its values."""
    with open(path, encoding="utf-8") as file:
        families = list(text_string_to_metric_families(file.read()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family is there twice"
    samples = {}
    for family in families:
        assert family.type != "unknown" and family.documentation, family.name
        for sample in family.samples:
            labels = samples.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return samples


def selectors(node):
    """The selectors of series in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for attribute in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, attribute, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or []:
        yield from selectors(child)


def check(expression, samples, where):
    """Fails where an expression does not parse, or names what is not there."""
    for macro in ("$__rate_interval", "$__interval", "$__range"):
        expression = expression.replace(macro, "5m")
    expression = expression.replace("$job", "hypervisor")
    found = list(selectors(promql_parser.parse(expression)))
    assert found, f"{where}: no series in {expression}"
    for selector in found:
        name = selector.name
        if name == "up":
            continue
        assert name in samples, f"{where}: no series {name}"
        for matcher in selector.matchers.matchers:
            if matcher.name in ADDED:
                continue
            values = samples[name].get(matcher.name)
            assert values, f"{where}: {name} has no label {matcher.name}"
            exact = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
            named = [matcher.value] if exact else matcher.value.split("|")
            for value in named:
                assert value in values, f"{where}: {name} has no {matcher.name}={value}"


def check_rules(path, samples):
    """Alert rules: the form, and the expressions."""
    with open(path, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    assert set(document) == {"groups"}, path
    seen = set()
    for group in document["groups"]:
        assert set(group) <= {"name", "interval", "rules"}, group["name"]
        for rule in group["rules"]:
            name = rule["alert"]
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}, name
            assert name not in seen, name
            seen.add(name)
            assert rule["labels"]["severity"] in {"page", "ticket"}, name
            assert {"summary", "description"} == set(rule["annotations"]), name
            check(rule["expr"], samples, name)
    return len(seen)


def check_dashboard(path, samples):
    """A dashboard: panels that have a place, a title and expressions."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    assert document["schemaVersion"] >= 39 and document["uid"] and document["title"], path
    ids, taken = set(), set()
    for panel in document["panels"]:
        title = panel["title"]
        assert panel["id"] not in ids, title
        ids.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert x < 24, title
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{title} lies on another panel"
                taken.add((x, y))
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert panel["targets"], title
        for target in panel["targets"]:
            check(target["expr"], samples, title)
    return len(ids)


def main():
    scrape, rules, *dashboards = sys.argv[1:]
    samples = read_scrape(scrape)
    if rules != "-":
        assert check_rules(rules, samples) > 0
    for dashboard in dashboards:
        assert check_dashboard(dashboard, samples) > 0
    as_lists = {
        name: {label: sorted(values) for label, values in labels.items()}
        for name, labels in samples.items()
    }
    json.dump(as_lists, sys.stdout)


main()
