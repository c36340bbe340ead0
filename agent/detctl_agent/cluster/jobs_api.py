"""Jobs of one namespace, by the official client: create, look, delete, and nothing else of the cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from detctl_agent.errors import AgentError

REQUEST_S = 20.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
State = Literal["running", "failed", "complete", "gone"]


class JobsApi:
    """Credentials are the pod's own service account, or what KUBECONFIG names."""

    def __init__(self, namespace: str = "") -> None:
        """Raises AgentError where there is no cluster to speak to."""
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise AgentError("launching Jobs needs the package kubernetes: pip install 'detctl[kubernetes]'") from error
        settings = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(settings)
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
        except config.ConfigException as error:
            raise AgentError(f"no cluster: neither in a pod nor by KUBECONFIG ({error})") from error
        self._api = client.BatchV1Api(client.ApiClient(settings))
        self.namespace = namespace or _own_namespace()

    def create(self, job: dict[str, Any]) -> None:
        """The same name again changes nothing. Raises AgentError."""
        try:
            body: Any = job  # the client takes plain values too
            self._api.create_namespaced_job(self.namespace, body, _request_timeout=REQUEST_S)
        except Exception as error:
            # The client's own, urllib3's, those of a broken answer: all mean that it was not made.
            if getattr(error, "status", None) != 409:
                raise AgentError(f"the Job was not made: {_why(error)}") from error

    def state(self, name: str) -> tuple[State, str]:
        """(state, why it failed). Raises AgentError where nobody answers."""
        try:
            job = self._api.read_namespaced_job(name, self.namespace, _request_timeout=REQUEST_S)
        except Exception as error:  # as in create
            if getattr(error, "status", None) == 404:
                return "gone", "somebody deleted the Job"
            raise AgentError(f"the Job cannot be seen: {_why(error)}") from error
        for condition in (job.status.conditions if job.status else None) or ():
            if condition.status == "True" and condition.type in ("Failed", "FailureTarget"):
                return "failed", f"{condition.reason or 'failed'}: {condition.message or ''}".strip(": ")
            if condition.status == "True" and condition.type in ("Complete", "SuccessCriteriaMet"):
                return "complete", ""
        return "running", ""

    def delete(self, name: str) -> None:
        """And its pods; nothing where there is none. Never raises: the Job's own deadline ends it too."""
        try:
            self._api.delete_namespaced_job(
                name, self.namespace, propagation_policy="Background", _request_timeout=REQUEST_S
            )
        except Exception:  # as in create; whatever it is, nothing of the run depends on it
            return


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text("ascii").strip()
    except OSError:
        return "default"


def _why(error: Exception) -> str:
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    return (
        f"{status} {reason}"
        if status
        else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    )
