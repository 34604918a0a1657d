"""What Helm rendered, in the words in which tests speak of it."""

import yaml

NAME = "maskinporten-operator"


class Rendered:
    """The manifests by kind and name."""

    def __init__(self, text):
        self.documents = [one for one in yaml.safe_load_all(text) if one]

    def all(self, kind):
        return [one for one in self.documents if one["kind"] == kind]

    def find(self, kind, name=NAME):
        return next((one for one in self.all(kind) if one["metadata"]["name"] == name), None)

    def pod(self, name=NAME):
        return self.find("Deployment", name)["spec"]["template"]

    def container(self, name=NAME):
        (container,) = self.pod(name)["spec"]["containers"]
        return container

    @property
    def environment(self):
        """The operator's variables; of those that come from a Secret its name and key."""
        found = {}
        for variable in self.container()["env"]:
            assert variable["name"] not in found
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            found[variable["name"]] = (source["name"], source["key"]) if source else variable["value"]
        return found
