//! Grouping collections without a number of clusters against golden numbers: eigenvalues to 1e-6, their gap, the number of
//! components, and the four groups there are, found by every method without a miss.

use deepcut::cluster::{ClusterConfig, ClusterModel, ClusterNetwork, Method, Provenance, Scaling, Vectors};
use deepcut::event::Silent;
use deepcut::metrics::Contingency;
use deepcut::tensor;

use crate::golden::Golden;

#[test]
fn eigenvalues_eigengap_components_and_groups_are_the_official_ones() {
    let golden = Golden::open("kless");
    let width = golden.shape("features")[1];
    let vectors = Vectors::new(golden.floats("features"), width).unwrap();
    let group = |scaling, method, clusters| {
        let settings = ClusterConfig { method, clusters, scaling, restarts: 3, ..ClusterConfig::default() };
        let (network, from) = (ClusterNetwork::default(), Provenance::default());
        ClusterModel::fit(&vectors, &settings, &network, from, &tensor::cpu(), &Silent).unwrap()
    };
    let eigenvalues = golden.doubles("laplacian_eigenvalues");
    let spectral = group(Scaling::None, Method::Spectral, Some(eigenvalues.len() - 1));
    assert_eq!(spectral.details.eigenvalues.len(), eigenvalues.len());
    for (found, expected) in spectral.details.eigenvalues.iter().zip(&eigenvalues) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
    assert_eq!(spectral.model.count() as i64, golden.integers("eigengap_k")[0]);
    let components = group(Scaling::None, Method::Components, None);
    assert_eq!(components.model.count() as i64, golden.integers("components")[0]);

    let truth: Vec<u32> = golden.integers("labels").into_iter().map(|label| label as u32).collect();
    for (method, clusters) in [(Method::Correlation, None), (Method::Spectral, None), (Method::Kmeans, Some(4))] {
        let found = group(Scaling::Unit, method, clusters);
        let agreement = Contingency::from_labels(&truth, &found.clusters).adjusted_rand_index();
        assert_eq!(agreement, 1.0, "{method:?} found {:?}", found.model.header().sizes);
    }
}
