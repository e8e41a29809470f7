"""Templates of all people, among which the ``contrast`` target finds the nearest impostors."""

from __future__ import annotations

from leam.explain.targets import person_templates
from leam.study.explained import TEMPLATES, PersonTemplates
from leam.study.plan import Plan
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage


@STAGES(TEMPLATES)
class Templates(Stage[PersonTemplates]):
    """Computes the template of every person before the faces are explained."""

    name = TEMPLATES
    title = "templates of people"
    phase = "embed"
    shard = PersonTemplates

    def applies(self, plan: Plan) -> bool:
        """Whether the target is ``contrast``."""
        return plan.settings.target == "contrast"

    def of_slice(self, scene: Scene) -> PersonTemplates:
        """The templates of a slice's people."""
        found = person_templates(scene.embeddings, scene.people, scene.kind)
        return PersonTemplates(template=found.cpu().numpy())
