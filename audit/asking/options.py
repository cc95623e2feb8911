"""What an auditor chooses about one audit: built once at the border, handed on whole."""

from dataclasses import dataclass, field, replace

from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits
from audit.asking.plan import scores_to_ask
from audit.bundle.manifest import BundleContents, Manifest
from audit.verdict.rule import DecisionRule, LookFor, choose_rule


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """How a suspect is asked; what is left out is the bundle's or the endpoint file's own."""

    scores: tuple[str, ...] = ()
    """Scores to compute, the deciding one first; empty: the bundle's own."""
    in_steps: bool | None = None
    """Whether the first two scores are steps of one verdict; None: where the bundle says so and
    nobody chose scores."""
    look_for: LookFor | None = None
    """Whether to be content with looking for copies; None: for whatever the bundle can find."""
    budget: int | None = None
    """Largest number of images asked, control images included; None asks them all."""
    resume: bool = False
    """Go on with the newest unfinished audit of this pair and these scores."""
    alpha: float | None = None
    """False-positive rate of the verdict; None: the bundle's."""
    beta: float | None = None
    """Miss rate; None: the bundle's."""
    stop_early: bool | None = None
    """Stop asking when the verdict is certain enough (`audit.verdict.betting`); None: where answers
    cost money, which is at endpoints."""
    limits: SpendingLimits = field(default_factory=SpendingLimits)
    """What an endpoint's requests may come to, all runs together; what is None in it is as the
    endpoint's file says. A request that would exceed it is not sent."""
    infer_classes: bool = False
    """Find the order of the suspect's classes from the control images, all of which are asked
    then."""

    def settled_for(self, bundle: BundleContents, suspect: Suspect) -> "AuditOptions":
        """Return the options with everything said that depends on who is asked."""
        stop_early = self.stop_early
        return replace(
            self,
            scores=self.scores or scores_to_ask(bundle, suspect, look_for=self.look_for),
            in_steps=self.decides_in_steps(bundle.manifest),
            stop_early=suspect.identity.kind != "onnx" if stop_early is None else stop_early,
        )

    def decides_in_steps(self, manifest: Manifest) -> bool:
        """Return whether two steps decide."""
        if self.in_steps is not None:
            return self.in_steps
        return not self.scores and self.look_for is None and manifest.steps is not None

    def rule(self, manifest: Manifest) -> DecisionRule:
        """Return the rule that the audit follows; nothing stops early unless it is said.

        Raises:
            AuditError: The bundle has too few models for a rate.
        """
        return choose_rule(
            manifest,
            alpha=self.alpha,
            beta=self.beta,
            stop_early=bool(self.stop_early),
            in_steps=self.decides_in_steps(manifest),
            look_for=self.look_for,
        )
